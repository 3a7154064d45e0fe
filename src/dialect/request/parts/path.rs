//! Where a text stands in a request.

use core::fmt;

/// Where a value stands in a request.
#[derive(Clone, Copy)]
pub(super) struct Path<'p> {
    parent: Option<&'p Self>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Member(&'p str),
    Element(usize),
}

impl<'p> Path<'p> {
    pub(super) const ROOT: Self = Self { parent: None, step: Step::Root };

    pub(super) const fn member(&'p self, key: &'p str) -> Self {
        Self { parent: Some(self), step: Step::Member(key) }
    }

    pub(super) const fn element(&'p self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Element(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parent) = self.parent else { return Ok(()) };
        parent.fmt(f)?;
        match self.step {
            Step::Root => Ok(()),
            Step::Member(key) if matches!(parent.step, Step::Root) => f.write_str(key),
            Step::Member(key) => write!(f, ".{key}"),
            Step::Element(index) => write!(f, "[{index}]"),
        }
    }
}
