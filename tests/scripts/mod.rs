//! Behaviour that holds wherever the engine runs. Each runner that takes this module in says at its root how a script is
//! played (`play`) and what a test is (`test`): the engine alone natively and in Node, the built module in an emulated host.

mod bounds;
mod hostile_provider;
mod lessons_bytes;
mod lessons_chat;
mod lessons_judge;
mod lessons_messages;
mod lessons_stream_rules;
mod parity;
mod requests;
mod two_turn;
