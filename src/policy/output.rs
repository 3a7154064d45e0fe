//! The output of an exchange: what hooks put into it, and where it ends.

use core::cell::Cell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::rc::Rc;

use super::Refusal;
use crate::block::{Chunk, build_text_chunk};
use crate::cell::TakeCell;

/// A place in the stream: something of a frame, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) frame: u64,
    pub(crate) at: At,
}

/// What of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    /// The slot of that number.
    Slot(usize),
    /// What comes behind its slots.
    End,
}

impl Place {
    /// The first place of all: before the answer.
    pub(crate) const START: Self = Self { frame: 0, at: At::Slot(0) };
}

/// Why an answer ends where a policy ends it; each is written in the dialect's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// It is complete as it stands (`stop`, `end_turn`), or asks for the calls in it (`tool_calls`, `tool_use`).
    Stop,
    /// It grew too long (`length`, `max_tokens`).
    Length,
    /// Content was withheld (`content_filter`, `refusal`).
    Refusal,
}

/// An end that a hook puts behind the action that it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputEnd {
    pub(crate) reason: FinishReason,
    pub(crate) drops_held: bool,
}

impl OutputEnd {
    /// Ends for this reason. What policies hold back of texts before the end leaves, where they say so
    /// ([`Policy::on_text_end`](super::Policy::on_text_end)).
    pub const fn because(reason: FinishReason) -> Self {
        Self { reason, drops_held: false }
    }

    /// Drops what policies hold back of texts before the end.
    #[must_use]
    pub const fn dropping_held(self) -> Self {
        Self { drops_held: true, ..self }
    }
}

/// Something that a hook put into the output.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Chunk(Chunk),
    End(OutputEnd),
    Refuse(Refusal),
}

/// Resolves once all that a policy decides about before its running hook is decided.
#[must_use = "a turn comes only to who awaits it"]
pub struct Turn(pub(super) Rc<Output>);

impl Future for Turn {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        // No waker: the exchange lets hooks go on in their turn.
        if self.0.is_in_turn() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Where the output of an exchange stands: the one place that knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// More may be sent.
    #[default]
    Open,
    /// Nothing leaves that comes behind this place.
    Ending(Place),
    /// Nothing more leaves; hooks go on seeing what comes.
    Ended,
    /// Nothing more leaves, and nothing that comes is looked at.
    Broken,
}

/// What hooks put into the output, and where it stands.
#[derive(Default)]
pub(crate) struct Output {
    state: Cell<State>,
    /// The place that the hook that runs was called for.
    place: Cell<Option<Place>>,
    outgoing: TakeCell<Vec<Outgoing>>,
    /// All that the policy of the hook that runs decides about before it is decided.
    in_turn: Cell<bool>,
}

impl Output {
    /// A hook runs, or goes on, about what stands at `place`.
    pub(crate) fn enter_hook(&self, place: Place) {
        self.place.set(Some(place));
    }

    pub(crate) fn set_turn(&self, in_turn: bool) {
        self.in_turn.set(in_turn);
    }

    pub(crate) const fn is_in_turn(&self) -> bool {
        self.in_turn.get()
    }

    /// Says whether what stands at the place of the hook that runs cannot leave any more.
    pub(crate) fn is_ended_here(&self) -> bool {
        match self.state.get() {
            State::Open => false,
            State::Ending(end) => self.place.get().is_none_or(|place| place > end),
            State::Ended | State::Broken => true,
        }
    }

    /// Says whether what stands at this place cannot leave any more.
    pub(crate) fn is_behind_end(&self, place: Place) -> bool {
        match self.state.get() {
            State::Open => false,
            State::Ending(end) => place > end,
            State::Ended | State::Broken => true,
        }
    }

    /// Says whether the output has ended, or will end at a place that is known.
    pub(crate) fn is_ending(&self) -> bool {
        self.state.get() != State::Open
    }

    /// Says whether nothing more leaves.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state.get(), State::Ended | State::Broken)
    }

    /// Says whether nothing that comes is to be looked at.
    pub(crate) fn is_broken(&self) -> bool {
        self.state.get() == State::Broken
    }

    /// The output ends at this place, or before it.
    pub(crate) fn end_at(&self, place: Place) {
        match self.state.get() {
            State::Open => self.state.set(State::Ending(place)),
            State::Ending(known) => self.state.set(State::Ending(known.min(place))),
            State::Ended | State::Broken => {}
        }
    }

    /// All that could leave has left.
    pub(crate) fn end(&self) {
        if self.state.get() != State::Broken {
            self.state.set(State::Ended);
        }
    }

    /// The output was broken off.
    pub(crate) fn break_off(&self) {
        self.state.set(State::Broken);
    }

    /// Takes what a hook puts into the output; what it ends counts for the hook at once.
    pub(crate) fn push(&self, outgoing: Outgoing) {
        if matches!(outgoing, Outgoing::End(_) | Outgoing::Refuse(_))
            && let Some(place) = self.place.get()
        {
            // Its own place can still have what the hook returns, and nothing more of what it sends.
            self.end_at(place);
            self.place.set(None);
        }
        self.outgoing.with(|known| known.push(outgoing));
    }

    pub(crate) fn take_outgoing(&self) -> Vec<Outgoing> {
        self.outgoing.take()
    }
}

/// What a client reads where an answer that has left in part is refused.
pub(crate) fn build_refusal_chunk(refusal: &Refusal) -> Chunk {
    build_text_chunk(0, refusal.message.as_str())
}
