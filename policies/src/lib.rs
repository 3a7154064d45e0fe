//! Built-in policies.
