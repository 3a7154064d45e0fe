//! What cannot happen, made to happen: it is told, and nothing leaves by it.

use super::super::release_queue::Shape;
use super::*;
use crate::chain::Chain;
use crate::dialect::Encoder;
use crate::effect::Effect;
use crate::id::CallId;
use crate::policy::{Interests, Part, Policy, SharedPolicy};
use crate::time::Timestamp;

/// Looks at everything, and does nothing.
#[derive(Debug)]
struct Looking;

impl Policy<()> for Looking {
    fn interests(&self) -> Interests {
        Interests::ALL
    }
}

struct Broken {
    shared: Rc<Shared>,
    pipeline: Pipeline,
    queue: ReleaseQueue,
    out: Vec<u8>,
}

impl Broken {
    fn new() -> Self {
        let chain = Chain::new(vec![SharedPolicy::new("looking", Looking)]);
        let shared = Rc::new(Shared::new(chain.into(), Part::default(), CallId::from_bytes([1; 16]), Timestamp::default()));
        let pipeline = Pipeline::new(&shared);
        let dialect = Dialect::ChatCompletions;
        let queue = ReleaseQueue::new(dialect, Shape::Stream, Encoder::new(dialect), Rc::clone(&shared.output));
        Self { shared, pipeline, queue, out: Vec::new() }
    }

    fn sink(&mut self) -> (&mut Pipeline, Sink<'_>) {
        (&mut self.pipeline, Sink { release_queue: &mut self.queue, out: &mut self.out })
    }

    /// The words of the errors that were reported, and what left.
    fn outcome(mut self) -> (Vec<String>, Vec<u8>) {
        self.pipeline.report_lost(self.queue.take_lost());
        let words = self.shared.effects.take().into_iter().filter_map(|effect| match effect {
            Effect::Event(event) => Some(event.event_type.to_string()),
            _ => None,
        });
        (words.collect(), self.out)
    }
}

const NOWHERE: SlotRef = SlotRef { frame: 7, slot: 3, rest: None };

#[test]
fn a_decision_about_a_slot_that_is_not_in_the_queue_is_told() {
    for slot in [NOWHERE, SlotRef { rest: Some(5), ..NOWHERE }] {
        for action in [SlotAction::Keep, SlotAction::Remove] {
            let mut broken = Broken::new();
            broken.queue.decide(slot, action);
            assert_eq!(broken.outcome(), (vec!["unreachable".to_owned()], Vec::new()));
        }
    }
}

#[test]
fn a_decision_about_a_block_that_its_stage_does_not_know_is_told() {
    for (stage, block) in [(0, BlockId(9)), (4, BlockId(0))] {
        let mut broken = Broken::new();
        let end = BlockEnd { block, complete: true, slot: None, before: NOWHERE.place(), is_whole: false };
        let (pipeline, mut sink) = broken.sink();
        pipeline.settle_block(stage, end, BlockAction::Forward, Vec::new(), &mut sink);
        assert_eq!(broken.outcome(), (vec!["unreachable".to_owned()], Vec::new()));
    }
}
