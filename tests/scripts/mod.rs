//! Behaviour that holds wherever the engine runs. Each runner that takes this module in says at its root how a script is
//! played (`play`) and what a test is (`test`): the engine alone natively and in Node, the built module in an emulated host.

mod bounds;
mod conclusions;
mod dialects;
mod endings;
mod ends;
mod hostile_provider;
mod hostile_responses;
mod interests;
mod judging;
mod mcp_calls;
mod mcp_peculiarities;
mod mcp_results;
mod parity;
mod peculiar_messages;
mod policy_rollouts;
mod requests;
mod response_heads;
mod rollout;
mod state;
mod stream_rules;
mod two_turn;
mod wire_rules_bytes;
mod wire_rules_chat;
mod wire_rules_messages;
mod wire_rules_responses;
