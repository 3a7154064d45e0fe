//! chat.completions (<https://platform.openai.com/docs/api-reference/chat>).

use super::{DecodeError, Ending, Frame, Insertion, Part, SlotFate, TooLate};
use crate::block::Chunk;
use crate::sse;

/// Reads documents.
#[derive(Debug, Default)]
pub struct Decoder {}

impl Decoder {
    pub(super) fn event(&mut self, _: &sse::Event<'_>, _: &mut Frame, _: &mut dyn FnMut(Part<'_>)) -> Result<(), DecodeError> {
        Ok(())
    }
    pub(super) fn body(&mut self, _: &[u8], _: &mut Frame, _: &mut dyn FnMut(Part<'_>)) -> Result<(), DecodeError> {
        Ok(())
    }
    pub(super) fn finish(&mut self, _: &mut dyn FnMut(Part<'_>)) {}
}

/// Writes documents.
#[derive(Debug, Default)]
pub struct Encoder {}

impl Encoder {
    pub(super) fn event(&mut self, _: &[u8], _: &Frame, _: &[SlotFate], _: &mut Vec<u8>) {}
    pub(super) fn chunk(&mut self, _: &Chunk, _: &mut Vec<u8>) -> Result<(), TooLate> {
        Ok(())
    }
    pub(super) fn end(&mut self, _: Ending, _: &mut Vec<u8>) {}
    pub(super) fn failure(&mut self, _: &str, _: &mut Vec<u8>) {}
    pub(super) fn body(&mut self, _: &[u8], _: &Frame, _: &[SlotFate], _: &[Insertion], _: &mut Vec<u8>) {}
}
