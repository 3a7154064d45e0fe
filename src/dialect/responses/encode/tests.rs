//! What cannot be does not leave: each test breaks what the encoder holds true.

use super::Encoder;
use crate::block::{BlockId, BlockKind};
use crate::dialect::responses::{EventKind, PartKey, Place, Reading};
use crate::dialect::{Frame, Slot, SlotAction};

const RAW: &[u8] = b"data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"a\",\"item\":{}}\n\n";

const EVENTS: [EventKind; 11] = [
    EventKind::ItemAdded,
    EventKind::PartAdded,
    EventKind::CommandAdded,
    EventKind::Delta,
    EventKind::Remark,
    EventKind::TextDone,
    EventKind::CommandDone,
    EventKind::PartDone,
    EventKind::ItemDone,
    EventKind::Status,
    EventKind::Surplus,
];

fn frame(event: EventKind, item: usize) -> Frame {
    let mut frame = Frame::default();
    let slot = Slot { block: BlockId(0), choice: 0, kind: BlockKind::Text, starts: false, stops: false };
    frame.slots.push(slot);
    let reading = Reading::of_mut(&mut frame);
    (reading.event, reading.item, reading.output_index) = (event, item, Some(0));
    reading.part = PartKey::Text(0);
    reading.places.push(Place { element: 0, part: Some(PartKey::Text(0)), differs: false });
    frame
}

fn leaves(encoder: &mut Encoder, frame: &Frame, actions: &[SlotAction]) -> String {
    let mut out = Vec::new();
    encoder.event(RAW, frame, actions, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_event_of_an_item_that_never_began_stays_behind() {
    for event in EVENTS.into_iter().filter(|event| *event != EventKind::ItemAdded) {
        assert_eq!(leaves(&mut Encoder::default(), &frame(event, 7), &[SlotAction::Keep]), "", "{event:?}");
    }
}

#[test]
fn a_slot_that_nobody_has_decided_about_stays_behind() {
    for event in EVENTS {
        let mut encoder = Encoder::default();
        if event != EventKind::ItemAdded {
            leaves(&mut encoder, &frame(EventKind::ItemAdded, 0), &[SlotAction::Keep]);
        }
        let left = leaves(&mut encoder, &frame(event, 0), &[]);
        // The beginnings and the ends of texts stay, so that what follows is counted right, and say nothing.
        assert!(!left.contains("\"delta\":\"a\"") || is_boundary(event), "{event:?}: {left}");
    }
}

const fn is_boundary(event: EventKind) -> bool {
    matches!(
        event,
        EventKind::PartAdded
            | EventKind::CommandAdded
            | EventKind::TextDone
            | EventKind::CommandDone
            | EventKind::PartDone
            | EventKind::ItemDone
    )
}

#[test]
fn an_item_that_begins_a_second_time_stays_behind() {
    let mut encoder = Encoder::default();
    assert_ne!(leaves(&mut encoder, &frame(EventKind::ItemAdded, 0), &[SlotAction::Keep]), "");
    assert_eq!(leaves(&mut encoder, &frame(EventKind::ItemAdded, 0), &[SlotAction::Keep]), "");
}
