//! The store that the engine asks for: what a worker keeps for itself, and what the workers of a process share as Envoy's
//! shared data.
//!
//! Shared data has no bounds, nothing in it expires, and no key ever goes. So keys of the store do not become keys of the
//! shared data: they are spread over a fixed number of buckets, each a bounded table that is read, changed and written
//! back as a whole. Whoever finds that another worker wrote in between reads again.
//!
//! To write without a version overwrites whatever is there. Therefore the buckets are made once, before any stream: the
//! main thread configures the plugin before the workers do.

use core::cell::{OnceCell, RefCell};
use core::hash::Hasher;
use std::hash::DefaultHasher;
use std::rc::Rc;

use proxy_wasm::types::Status;
use weir::id::CallId;
use weir::state::{Scope, StateError, StoreRequest, Stored, Table, TableLimits};
use weir::time::Timestamp;

use crate::host;

/// Buckets of a process, at most a mebibyte for each sixteen.
const BUCKETS: u64 = 1024;

/// Buckets of what policies keep that are observed beside enforced ones.
const BUCKETS_BESIDE: u64 = 64;

/// What a bucket may have.
const BUCKET: TableLimits = TableLimits { keys: 1024, bytes: 64 * 1024 };

/// What a worker may keep of policies that are observed beside enforced ones.
const BESIDE: TableLimits = TableLimits { keys: 16 * 1024, bytes: 4 * 1024 * 1024 };

/// How often a bucket is read again because another worker wrote in between.
const ATTEMPTS: usize = 32;

/// What hashes of credentials are salted with: the same for all workers, another in every process.
const SALT: &str = "weir.salt";

/// Says that the buckets are there, those of observed policies, too.
const READY: &str = "weir.state.ready.2";

thread_local! {
    /// A module has one thread in each worker: this is the worker's own table, whatever is configured.
    static WORKER: RefCell<Table> = RefCell::default();

    /// What policies keep there that are observed beside enforced ones.
    static WORKER_BESIDE: RefCell<Table> = RefCell::new(Table::new(BESIDE));

    /// It never changes.
    static SALT_READ: OnceCell<Rc<[u8]>> = const { OnceCell::new() };
}

/// Makes the buckets and the salt, unless the process has them. In `on_configure`.
pub(crate) fn prepare() {
    if host::shared_data(READY).0.is_some() {
        return;
    }
    let enforced = (0..BUCKETS).map(|bucket| bucket_name(bucket, false));
    for name in enforced.chain((0..BUCKETS_BESIDE).map(|bucket| bucket_name(bucket, true))) {
        if host::shared_data(&name).1.is_none() {
            let _ = host::set_shared_data(&name, &[], None);
        }
    }
    if let (Ok(one), Ok(other)) = (CallId::random(), CallId::random()) {
        let _ = host::set_shared_data(SALT, format!("{one}{other}").as_bytes(), None);
    }
    let _ = host::set_shared_data(READY, b"1", None);
}

/// What hashes of credentials are salted with; `None` where the platform gave no random bytes. Any phase.
pub(crate) fn salt() -> Option<Rc<[u8]>> {
    SALT_READ.with(|known| {
        if known.get().is_none()
            && let Some(salt) = host::shared_data(SALT).0
        {
            let _ = known.set(salt.into());
        }
        known.get().cloned()
    })
}

/// Carries out what the engine asks of the store. Any phase.
pub(crate) fn carry_out(request: &StoreRequest, now: Timestamp) -> Result<Stored, StateError> {
    match request.scope {
        Scope::Worker => if request.is_beside { &WORKER_BESIDE } else { &WORKER }.with(|worker| match worker.try_borrow_mut() {
            Ok(mut table) => table.carry_out(&request.key, &request.operation, now),
            Err(_) => Err(StateError::Unavailable),
        }),
        Scope::Proxy => carry_out_shared(request, now),
    }
}

fn carry_out_shared(request: &StoreRequest, now: Timestamp) -> Result<Stored, StateError> {
    let buckets = if request.is_beside { BUCKETS_BESIDE } else { BUCKETS };
    let name = bucket_name(hash(request.key.as_bytes()).checked_rem(buckets).unwrap_or_default(), request.is_beside);
    for _ in 0..ATTEMPTS {
        // Without a version the write could not be held back if another worker wrote in between.
        let (bytes, Some(version)) = host::shared_data(&name) else { return Err(StateError::Unavailable) };
        let bytes = bytes.unwrap_or_default();
        let mut table = Table::read(BUCKET, &bytes).ok_or(StateError::Unavailable)?;
        let stored = table.carry_out(&request.key, &request.operation, now)?;
        if !table.has_changed() {
            return Ok(stored);
        }
        match host::set_shared_data(&name, &table.write(now), Some(version)) {
            Ok(()) => return Ok(stored),
            Err(Status::CasMismatch) => {}
            Err(_) => return Err(StateError::Unavailable),
        }
    }
    Err(StateError::Contended)
}

fn bucket_name(bucket: u64, is_beside: bool) -> String {
    if is_beside { format!("weir.state.beside.{bucket}") } else { format!("weir.state.{bucket}") }
}

/// Spreads keys. The workers must agree about it, so that it cannot be random; who chooses keys that fall together fills
/// one bucket, which then takes no new keys, and no other.
fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}
