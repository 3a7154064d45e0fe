//! NoOp: leaves every byte alone.

use serde::Deserialize;
use weir::document::{DocumentError, PolicyConfig, parse};
use weir::policy::{Hold, Interests, Policy, SharedPolicy};

/// Leaves every byte alone, and reads none. It has no configuration.
#[derive(Debug)]
pub struct NoOp;

impl Policy for NoOp {
    fn greatest_hold(&self) -> Hold {
        Hold::Nothing
    }

    fn interests(&self) -> Interests {
        Interests::NONE
    }
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {}

pub(crate) fn make(config: PolicyConfig<'_>) -> Result<SharedPolicy, DocumentError> {
    let Config {} = parse(config.with)?;
    Ok(SharedPolicy::new("NoOp", NoOp))
}

#[cfg(test)]
mod tests {
    use weir::document::Environment;

    use super::*;

    #[test]
    fn it_takes_no_configuration() {
        let judges = hashbrown::HashMap::new();
        assert_eq!(make(PolicyConfig { with: "{}", judges: &judges, environment: Environment::NONE }).unwrap().name(), "NoOp");
        let error =
            make(PolicyConfig { with: r#"{"threshold":1}"#, judges: &judges, environment: Environment::NONE }).unwrap_err();
        assert_eq!(error.path, "threshold");
    }
}
