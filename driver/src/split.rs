//! Ways to cut a body into chunks.

/// How a body is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// Not at all.
    Whole,
    /// Each event a chunk of its own, as a provider sends them.
    Events,
    /// Each byte a chunk of its own.
    Bytes,
    /// Chunks of so many bytes.
    Every(usize),
    /// At these positions.
    At(Vec<usize>),
}

impl Split {
    /// Cuts `body`.
    pub fn cut(&self, body: &[u8]) -> Vec<Vec<u8>> {
        match self {
            Self::Whole => vec![body.to_vec()],
            Self::Events => events(body),
            Self::Bytes => bytes(body),
            Self::Every(length) => body.chunks((*length).max(1)).map(<[u8]>::to_vec).collect(),
            Self::At(positions) => at(body, positions),
        }
    }
}

/// Cuts the body at each of `positions`; those beyond it are ignored, and order and repetition do not matter.
pub fn at(body: &[u8], positions: &[usize]) -> Vec<Vec<u8>> {
    let mut positions = positions.iter().copied().filter(|position| (1..body.len()).contains(position)).collect::<Vec<_>>();
    positions.sort_unstable();
    positions.dedup();
    let mut chunks = Vec::with_capacity(positions.len().saturating_add(1));
    let mut start = 0;
    for end in positions.into_iter().chain([body.len()]) {
        chunks.push(body.get(start..end).unwrap_or_default().to_vec());
        start = end;
    }
    chunks
}

/// Makes each byte a chunk of its own.
pub fn bytes(body: &[u8]) -> Vec<Vec<u8>> {
    body.iter().map(|byte| vec![*byte]).collect()
}

/// Makes each event a chunk of its own, as a provider sends them.
pub fn events(body: &[u8]) -> Vec<Vec<u8>> {
    let ends_event = |end: &usize| {
        let before = body.get(..*end).unwrap_or_default();
        before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n")
    };
    let ends = (2..body.len()).filter(ends_event).collect::<Vec<_>>();
    at(body, &ends)
}
