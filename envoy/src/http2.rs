//! Frames of HTTP/2 as they are written to a client: as much of them as it takes to end a stream behind its last bytes.
//!
//! Which stream of a connection is whose cannot be asked. So the last bytes end with a mark, a comment of an event stream that
//! nobody could have said before. The frame that has it becomes the last of its stream, and the mark its padding: the frame keeps its
//! length, which flow control counts. What the proxy writes on the stream behind that does not leave.

use core::cell::Cell;
use std::rc::Rc;

use weir::id::CallId;

/// Length of a mark: of what padding can be, 1 to 256 bytes.
pub(crate) const MARK_BYTES: usize = 40;

const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;

/// The end of a stream that is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StreamEnd {
    mark: Vec<u8>,
    /// The context of the stream.
    pub(crate) context_id: u32,
    stage: Cell<Stage>,
    is_gone: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is written with the mark.
    Due,
    /// It was written on that stream, which the proxy does not know yet.
    Written(u32),
    /// Nothing more comes on the stream.
    Settled,
}

impl StreamEnd {
    /// An end that is due, of the stream of that context; `None` where the platform gives no random bytes.
    pub(crate) fn new(context_id: u32) -> Option<Self> {
        let mark = format!(":weir-{}\n\n", CallId::random().ok()?).into_bytes();
        (mark.len() == MARK_BYTES).then(|| Self { mark, context_id, stage: Cell::new(Stage::Due), is_gone: Cell::new(false) })
    }

    /// What the last bytes of the stream are to end with.
    pub(crate) fn mark(&self) -> &[u8] {
        &self.mark
    }

    /// The proxy is done with the stream. To reset one then brings the process down.
    pub(crate) fn note_gone(&self) {
        self.is_gone.set(true);
    }

    /// Whether the proxy is done with the stream.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.get()
    }

    /// Whether it was written.
    pub(crate) fn is_written(&self) -> bool {
        self.stage.get() != Stage::Due
    }

    /// Whether anything of it is still to come: the mark of a stream that is there, or what the proxy writes behind the end.
    pub(crate) fn is_open(self: &Rc<Self>) -> bool {
        match self.stage.get() {
            Stage::Due => Rc::strong_count(self) > 1,
            Stage::Written(_) => true,
            Stage::Settled => false,
        }
    }
}

/// What becomes of what is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is written as it is.
    Same,
    /// This is written in its place. These ends are in it.
    Changed { bytes: Vec<u8>, ended: Vec<Rc<StreamEnd>> },
    /// It is not of whole frames: nothing can be told of it.
    Unreadable,
}

/// Ends streams whose last bytes are written, and keeps back what comes behind their ends.
pub(crate) fn end_streams(written: &[u8], ends: &[Rc<StreamEnd>]) -> Written {
    let Some(frames) = Frame::all(written) else { return Written::Unreadable };
    let mut bytes = Vec::new();
    let mut ended = Vec::new();
    let mut has_changed = false;
    for frame in frames {
        let known = ends.iter().find(|end| end.stage.get() == Stage::Written(frame.stream));
        match (frame.kind, known) {
            (DATA | RST_STREAM, Some(end)) => {
                if frame.kind == RST_STREAM || frame.has(END_STREAM) {
                    end.stage.set(Stage::Settled);
                }
                has_changed = true;
            }
            _ => match ends.iter().find(|end| frame.has_mark_of(end)) {
                Some(end) => {
                    frame.write_as_last(&mut bytes);
                    end.stage.set(if frame.has(END_STREAM) { Stage::Settled } else { Stage::Written(frame.stream) });
                    ended.push(Rc::clone(end));
                    has_changed = true;
                }
                None => bytes.extend_from_slice(frame.raw),
            },
        }
    }
    if has_changed { Written::Changed { bytes, ended } } else { Written::Same }
}

#[derive(Clone, Copy, Debug)]
struct Frame<'w> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'w [u8],
    raw: &'w [u8],
}

impl<'w> Frame<'w> {
    /// Gives the frames of `written`; `None` where it is not of whole frames.
    fn all(mut written: &'w [u8]) -> Option<Vec<Self>> {
        let mut frames = Vec::new();
        while !written.is_empty() {
            let (head, rest) = written.split_first_chunk::<HEAD_BYTES>()?;
            let [length @ .., kind, flags, stream_0, stream_1, stream_2, stream_3] = *head;
            let [length_0, length_1, length_2] = length;
            let length = usize::try_from(u32::from_be_bytes([0, length_0, length_1, length_2])).ok()?;
            let (payload, behind) = rest.split_at_checked(length)?;
            let raw = written.get(..HEAD_BYTES.saturating_add(length))?;
            let stream = u32::from_be_bytes([stream_0 & 0x7f, stream_1, stream_2, stream_3]);
            frames.push(Self { kind, flags, stream, payload, raw });
            written = behind;
        }
        Some(frames)
    }

    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether that end is due behind it.
    fn has_mark_of(&self, end: &StreamEnd) -> bool {
        self.kind == DATA && !self.has(PADDED) && end.stage.get() == Stage::Due && self.payload.ends_with(&end.mark)
    }

    /// Writes it as the last frame of its stream, with padding in the place of the mark.
    fn write_as_last(&self, out: &mut Vec<u8>) {
        let text = self.payload.get(..self.payload.len().saturating_sub(MARK_BYTES)).unwrap_or_default();
        let padding = MARK_BYTES.saturating_sub(1);
        let (length_and_kind, stream) = (self.raw.get(..4), self.raw.get(5..HEAD_BYTES));
        out.extend_from_slice(length_and_kind.unwrap_or_default());
        out.push(self.flags | END_STREAM | PADDED);
        out.extend_from_slice(stream.unwrap_or_default());
        out.push(u8::try_from(padding).unwrap_or_default());
        out.extend_from_slice(text);
        out.resize(out.len().saturating_add(padding), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn due(context_id: u32) -> Rc<StreamEnd> {
        Rc::new(StreamEnd::new(context_id).unwrap())
    }

    fn changed(written: &[u8], ends: &[Rc<StreamEnd>]) -> (Vec<u8>, Vec<u32>) {
        match end_streams(written, ends) {
            Written::Changed { bytes, ended } => (bytes, ended.iter().map(|end| end.context_id).collect()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_frame_with_the_mark_is_the_last_of_its_stream_and_as_long_as_it_was() {
        let (one, other) = (due(1), due(2));
        let others = frame(DATA, 0, 5, b"data: more\n\n");
        let last = frame(DATA, 0, 3, &[b"data: [DONE]\n\n", other.mark()].concat());
        let (bytes, ended) = changed(&[&others[..], &last, &others].concat(), &[one, Rc::clone(&other)]);
        assert_eq!(ended, [2]);
        let padded = [&[39][..], b"data: [DONE]\n\n", &[0; 39]].concat();
        assert_eq!(bytes, [others.clone(), frame(DATA, END_STREAM | PADDED, 3, &padded), others].concat());
        assert_eq!(bytes.len(), last.len() + 2 * 21);
        assert!(other.is_written() && other.is_open());
    }

    #[test]
    fn nothing_of_the_stream_leaves_behind_its_end() {
        for (last, flags) in [(RST_STREAM, 0), (DATA, END_STREAM)] {
            let end = due(1);
            let _ = changed(&frame(DATA, 0, 3, end.mark()), &[Rc::clone(&end)]);
            let (others, own) = (frame(DATA, 0, 1, b"x"), frame(DATA, 0, 3, b"late"));
            assert_eq!(changed(&[&own[..], &others].concat(), &[Rc::clone(&end)]), (others.clone(), vec![]));
            let settled = frame(last, flags, 3, if last == DATA { b"" } else { &[0, 0, 0, 2] });
            assert_eq!(changed(&settled, &[Rc::clone(&end)]), (vec![], vec![]));
            assert!(end.is_written() && !end.is_open());
            // The number comes never again; should it, the frame is another's.
            assert_eq!(end_streams(&own, &[end]), Written::Same);
        }
    }

    #[test]
    fn heads_and_what_is_not_ended_stay_as_they_are() {
        let end = due(1);
        let half = &end.mark()[..20];
        for written in [
            frame(1, 4, 3, end.mark()),
            frame(8, 0, 0, &[0, 0, 1, 0]),
            frame(DATA, 0, 3, half),
            frame(DATA, 0, 3, &[end.mark(), b"\n"].concat()),
            frame(DATA, PADDED, 3, end.mark()),
            frame(DATA, END_STREAM, 3, b""),
        ] {
            assert_eq!(end_streams(&written, &[Rc::clone(&end)]), Written::Same);
        }
        let ended = due(2);
        let _ = changed(&frame(DATA, 0, 3, ended.mark()), &[Rc::clone(&ended)]);
        assert_eq!(
            end_streams(&frame(1, 4, 3, b"trailers"), &[ended]),
            Written::Same,
            "they change the state of the compression"
        );
    }

    #[test]
    fn what_is_not_of_whole_frames_is_left_alone() {
        let whole = frame(DATA, 0, 3, due(1).mark());
        for cut in 1..whole.len() {
            assert_eq!(end_streams(&whole[..cut], &[due(1)]), Written::Unreadable, "{cut}");
        }
        assert_eq!(end_streams(b"HTTP/1.1 200 OK\r\n\r\n", &[due(1)]), Written::Unreadable);
    }

    #[test]
    fn an_end_whose_stream_is_gone_is_not_awaited() {
        let end = due(1);
        assert!(!end.is_open(), "nobody else has it");
        let stream = Rc::clone(&end);
        assert!(end.is_open());
        drop(stream);
        assert_eq!(end.mark().len(), MARK_BYTES);
    }
}
