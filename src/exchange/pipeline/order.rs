//! The hooks that wait, and the order in which they are settled.

use super::{Matter, Pipeline, Sink};
use crate::dialect::Dialect;
use crate::policy::{Hook, HookOutput, OutputEnd};

/// A hook that waits, or whose decision does.
pub(super) struct Running {
    pub(super) stage: usize,
    matter: Matter,
    hook: Hook,
    /// What it came to, before those before it did.
    output: Option<HookOutput>,
    /// Where it ends the output, before its turn.
    ends: Vec<OutputEnd>,
    turn: Turn,
}

/// Hooks of one turn are settled one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    stage: usize,
    /// Messages of MCP do not wait for one another.
    message: u32,
}

impl Pipeline {
    fn turn(&self, stage: usize, matter: &Matter) -> Turn {
        let is_apart = self.shared.request().dialect == Some(Dialect::McpTool);
        let message = match matter {
            Matter::Block(end) if is_apart => self.stages.get(stage).and_then(|stage| stage.choice_of(end.block)),
            Matter::Finish(finish) if is_apart => Some(finish.choice),
            _ => None,
        };
        Turn { stage, message: message.unwrap_or_default() }
    }

    /// Runs a hook as far as it goes, and settles what it comes to once those before it are settled.
    pub(super) fn run(&mut self, stage: usize, matter: Matter, mut hook: Hook, sink: &mut Sink<'_>) {
        let turn = self.turn(stage, &matter);
        let in_turn = !self.running.iter().any(|running| running.turn == turn);
        self.shared.output.set_turn(in_turn);
        match self.advance(&mut hook, matter.place()) {
            Some(output) if in_turn => {
                self.settle(stage, matter, output, Vec::new(), sink);
            }
            output => {
                let ends = self.send_at(stage, &matter, sink);
                self.running.push(Running { stage, matter, hook, output, ends, turn });
            }
        }
    }

    /// Lets what a hook sends before its turn leave: before what it decides about.
    fn send_at(&self, stage: usize, matter: &Matter, sink: &mut Sink<'_>) -> Vec<OutputEnd> {
        let held = match matter {
            Matter::Block(end) => self.stages.get(stage).and_then(|stage| stage.held_place(end.block)),
            Matter::Finish(_) => None,
        };
        self.drain_outgoing(held.unwrap_or_else(|| matter.place()), sink)
    }

    /// Lets the hooks that wait go on, in the order of the stream; what they wait for came or ran out of time.
    pub(in crate::exchange) fn wake(&mut self, sink: &mut Sink<'_>) {
        let mut position = 0_usize;
        let mut blocked: Vec<Turn> = Vec::new();
        while let Some(running) = self.running.get_mut(position) {
            let (turn, place) = (running.turn, running.matter.place());
            if blocked.contains(&turn) {
                position = position.saturating_add(1);
                continue;
            }
            let mut running = self.running.remove(position);
            let output = running.output.take();
            let output = if output.is_some() {
                self.shared.outcome.enter_hook(running.hook.has_spoken());
                output
            } else {
                self.shared.output.set_turn(true);
                self.advance(&mut running.hook, place)
            };
            match output {
                Some(output) => self.settle(running.stage, running.matter, output, running.ends, sink),
                None => {
                    let ends = self.send_at(running.stage, &running.matter, sink);
                    running.ends.extend(ends);
                    self.running.insert(position, running);
                    blocked.push(turn);
                    position = position.saturating_add(1);
                }
            }
        }
    }
}
