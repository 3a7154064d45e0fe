//! Interior mutability that can neither panic nor be held across an await.

use core::cell::Cell;

/// A value that is taken out while a closure works on it, and put back after.
///
/// In contrast to `RefCell` nothing can be "already borrowed": a closure that reaches for the same cell again sees a
/// fresh default, and what it leaves there is overwritten when the outer closure returns.
#[derive(Default)]
pub(crate) struct TakeCell<T>(Cell<T>);

impl<T: Default> TakeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Cell::new(value))
    }

    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.0.take();
        let result = work(&mut value);
        self.0.set(value);
        result
    }

    pub(crate) fn take(&self) -> T {
        self.0.take()
    }
}

/// As [`TakeCell`], for values that are large: what is taken and put back is where the value stands.
pub(crate) struct BoxCell<T>(Cell<Option<Box<T>>>);

impl<T> Default for BoxCell<T> {
    fn default() -> Self {
        Self(Cell::new(None))
    }
}

impl<T: Default> BoxCell<T> {
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.0.take().unwrap_or_default();
        let result = work(&mut value);
        self.0.set(Some(value));
        result
    }
}
