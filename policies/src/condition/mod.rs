//! Conditions on a value at a place of JSON.

mod host;

use serde::Deserialize;
use serde_json::{Number, Value};
use weir::document::DocumentError;

use self::host::{Host, HostPattern, Network};

/// Most conditions that a rule has, and most entries of a list in one.
const MAX_ENTRIES: usize = 1_000;

/// A test of the value at a JSON pointer. Exactly one test is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Raw")]
pub(crate) struct Condition {
    /// What stands in the document.
    raw: Raw,
    hosts: Option<Vec<HostPattern>>,
    networks: Option<Vec<Network>>,
}

/// A test of the value at a JSON pointer. Exactly one test is given.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Condition"))]
#[serde(deny_unknown_fields)]
struct Raw {
    /// The pointer (RFC 6901); empty for the whole.
    at: String,
    /// Whether the test is turned around. What is missing stays missing.
    #[serde(default)]
    not: bool,
    #[serde(default, deserialize_with = "given")]
    equals: Option<Value>,
    #[serde(rename = "in")]
    is_in: Option<Vec<Value>>,
    contains: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
    cidr: Option<Vec<String>>,
    host: Option<Vec<String>>,
    greater: Option<Number>,
    less: Option<Number>,
    exists: Option<bool>,
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Condition {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Raw::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Raw::json_schema(generator)
    }
}

impl TryFrom<Raw> for Condition {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        const HOST: &str = "is neither a host such as \"example.com\" or \"10.0.0.1\" nor all below one, such as \"*.example.com\"; \
            names in other letters stand as \"xn--…\"";
        const NETWORK: &str = "is not a range of addresses such as \"10.0.0.0/8\"";
        let hosts = read_all(raw.host.as_deref(), HostPattern::read, HOST)?;
        let networks = read_all(raw.cidr.as_deref(), Network::read, NETWORK)?;
        Ok(Self { raw, hosts, networks })
    }
}

fn read_all<T>(texts: Option<&[String]>, read: fn(&str) -> Option<T>, otherwise: &str) -> Result<Option<Vec<T>>, String> {
    let Some(texts) = texts else { return Ok(None) };
    let mut all = Vec::with_capacity(texts.len());
    for text in texts {
        all.push(read(text).ok_or_else(|| format!("{text:?} {otherwise}"))?);
    }
    Ok(Some(all))
}

/// Reads a value that is given, be it null.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What became of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tested {
    Holds,
    HoldsNot,
    /// Nothing stands there, or null where null is no value that is asked for.
    Missing,
    /// What stands there cannot be tested: it is of another type, or readers could take it differently.
    Untestable,
}

impl Tested {
    /// Whether nobody can say.
    pub(crate) const fn is_unknown(self) -> bool {
        matches!(self, Self::Missing | Self::Untestable)
    }
}

impl Condition {
    /// Refuses a condition that is none.
    pub(crate) fn check(&self) -> Result<(), DocumentError> {
        let tests = [
            self.raw.equals.is_some(),
            self.raw.is_in.is_some(),
            self.raw.contains.is_some(),
            self.raw.prefix.is_some(),
            self.raw.suffix.is_some(),
            self.raw.cidr.is_some(),
            self.raw.host.is_some(),
            self.raw.greater.is_some(),
            self.raw.less.is_some(),
            self.raw.exists.is_some(),
        ];
        if tests.into_iter().filter(|is_given| *is_given).count() != 1 {
            let message = "give one of equals, in, contains, prefix, suffix, cidr, host, greater, less and exists";
            return Err(DocumentError::new("", message));
        }
        if !self.raw.at.is_empty() && !self.raw.at.starts_with('/') {
            return Err(DocumentError::new("at", "must be a JSON pointer, such as \"/path\", or empty for all of it"));
        }
        let lists =
            [self.raw.is_in.as_ref().map(Vec::len), self.raw.cidr.as_ref().map(Vec::len), self.raw.host.as_ref().map(Vec::len)];
        if lists.into_iter().flatten().any(|length| length == 0 || length > MAX_ENTRIES) {
            return Err(DocumentError::new("", "a list must have 1 to 1000 entries"));
        }
        Ok(())
    }

    /// Tests the value that stands there in `whole`.
    pub(crate) fn test(&self, whole: &Value) -> Tested {
        let value = whole.pointer(&self.raw.at);
        if let Some(exists) = self.raw.exists {
            return self.turned(value.is_some() == exists);
        }
        let Some(value) = value else { return Tested::Missing };
        let unknown = if value.is_null() { Tested::Missing } else { Tested::Untestable };
        self.test_value(value).map_or(unknown, |holds| self.turned(holds))
    }

    const fn turned(&self, holds: bool) -> Tested {
        if holds == self.raw.not { Tested::HoldsNot } else { Tested::Holds }
    }

    /// `None` where the value is of another type than the test.
    fn test_value(&self, value: &Value) -> Option<bool> {
        if let Some(expected) = &self.raw.equals {
            return Some(is_same(value, expected));
        }
        if let Some(expected) = &self.raw.is_in {
            return Some(expected.iter().any(|expected| is_same(value, expected)));
        }
        if let Some(bound) = &self.raw.greater {
            return Some(value.as_f64()? > bound.as_f64()?);
        }
        if let Some(bound) = &self.raw.less {
            return Some(value.as_f64()? < bound.as_f64()?);
        }
        let text = value.as_str()?;
        if let Some(part) = &self.raw.contains {
            return Some(text.contains(part.as_str()));
        }
        if let Some(prefix) = &self.raw.prefix {
            return Some(text.starts_with(prefix.as_str()));
        }
        if let Some(suffix) = &self.raw.suffix {
            return Some(text.ends_with(suffix.as_str()));
        }
        if let Some(hosts) = &self.hosts {
            let host = Host::of(text)?;
            return Some(hosts.iter().any(|pattern| pattern.matches(&host)));
        }
        let networks = self.networks.as_ref()?;
        match Host::of(text)? {
            Host::Address(address) => Some(networks.iter().any(|network| network.contains(address))),
            // Names are not resolved.
            Host::Name(_) => None,
        }
    }
}

/// Tests all conditions. They hold where each does; one that cannot be tested makes all untestable unless another fails or is about
/// what is missing.
pub(crate) fn test_all(conditions: &[Condition], whole: Option<&Value>) -> Tested {
    let Some(whole) = whole else { return if conditions.is_empty() { Tested::Holds } else { Tested::Untestable } };
    let mut tested = Tested::Holds;
    for condition in conditions {
        match condition.test(whole) {
            Tested::Holds => {}
            Tested::HoldsNot => return Tested::HoldsNot,
            Tested::Missing => tested = Tested::Missing,
            Tested::Untestable if tested == Tested::Missing => {}
            Tested::Untestable => tested = Tested::Untestable,
        }
    }
    tested
}

/// Numbers are the same by their value: 1 is 1.0.
fn is_same(one: &Value, other: &Value) -> bool {
    // Whole numbers are compared as such: the nearest floating-point number is the same for several of them.
    let is_exact = !one.is_f64() && !other.is_f64();
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) if !is_exact => one.partial_cmp(&other).is_some_and(core::cmp::Ordering::is_eq),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tested(condition: Value, whole: &Value) -> Tested {
        let condition: Condition = serde_json::from_value(condition).unwrap();
        condition.check().unwrap();
        condition.test(whole)
    }

    #[test]
    fn each_test_holds_where_it_should() {
        let whole = json!({"path": "/etc/passwd", "n": 5, "url": "https://user@API.example.com:8443/x?y", "ip": "10.1.2.3",
            "list": ["a", {"b": null}], "mapped": "::ffff:10.0.0.1", "six": "http://[2001:db8::1]:80/",
            "hidden": "http://evil.com/?://example.com/", "numeric": "http://2130706433/", "large": 9_007_199_254_740_993_u64});
        for (condition, expected) in [
            (json!({"at": "/path", "equals": "/etc/passwd"}), Tested::Holds),
            (json!({"at": "/n", "equals": 5.0}), Tested::Holds),
            (json!({"at": "/n", "in": [1, 5]}), Tested::Holds),
            (json!({"at": "/list/0", "in": ["b"]}), Tested::HoldsNot),
            (json!({"at": "/list/1/b", "equals": null}), Tested::Holds),
            (json!({"at": "/path", "contains": "passw"}), Tested::Holds),
            (json!({"at": "/path", "prefix": "/etc/", "not": true}), Tested::HoldsNot),
            (json!({"at": "/path", "suffix": ".txt"}), Tested::HoldsNot),
            (json!({"at": "/n", "greater": 4}), Tested::Holds),
            (json!({"at": "/n", "less": 5}), Tested::HoldsNot),
            (json!({"at": "/url", "host": ["api.example.com"]}), Tested::Holds),
            (json!({"at": "/url", "host": ["*.example.com"]}), Tested::Holds),
            (json!({"at": "/url", "host": ["example.com", "*.ample.com"]}), Tested::HoldsNot),
            (json!({"at": "/ip", "cidr": ["10.0.0.0/8"]}), Tested::Holds),
            (json!({"at": "/mapped", "cidr": ["10.0.0.0/8"]}), Tested::Holds),
            (json!({"at": "/six", "cidr": ["2001:db8::/32"]}), Tested::Holds),
            (json!({"at": "/ip", "cidr": ["192.168.0.0/16", "0.0.0.0/32"]}), Tested::HoldsNot),
            (json!({"at": "/none", "exists": false}), Tested::Holds),
            (json!({"at": "/url", "host": ["EXAMPLE.com"], "not": true}), Tested::Holds),
            (json!({"at": "/hidden", "host": ["evil.com"]}), Tested::Holds),
            (json!({"at": "/numeric", "cidr": ["127.0.0.0/8"]}), Tested::Untestable),
            (json!({"at": "/url", "cidr": ["127.0.0.0/8"], "not": true}), Tested::Untestable),
            (json!({"at": "/large", "equals": 9_007_199_254_740_992_u64}), Tested::HoldsNot),
            (json!({"at": "/none", "equals": 1}), Tested::Missing),
            (json!({"at": "/none", "equals": 1, "not": true}), Tested::Missing),
            (json!({"at": "/list/1/b", "greater": 1}), Tested::Missing),
            (json!({"at": "/n", "contains": "5"}), Tested::Untestable),
            (json!({"at": "/path", "greater": 1}), Tested::Untestable),
        ] {
            assert_eq!(tested(condition.clone(), &whole), expected, "{condition}");
        }
    }

    #[test]
    fn of_several_conditions_one_that_fails_decides_and_then_one_about_what_is_missing() {
        let whole = json!({"a": 1, "b": "x"});
        let all = |conditions: &[Value]| {
            let conditions: Vec<Condition> = conditions.iter().map(|one| serde_json::from_value(one.clone()).unwrap()).collect();
            test_all(&conditions, Some(&whole))
        };
        let (holds, fails) = (json!({"at": "/a", "equals": 1}), json!({"at": "/a", "equals": 2}));
        let (missing, untestable) = (json!({"at": "/c", "equals": 1}), json!({"at": "/b", "greater": 1}));
        assert_eq!(all(&[holds.clone(), untestable.clone()]), Tested::Untestable);
        assert_eq!(all(&[missing.clone(), untestable.clone()]), Tested::Missing);
        assert_eq!(all(&[untestable.clone(), missing.clone(), holds]), Tested::Missing);
        assert_eq!(all(&[untestable, missing, fails]), Tested::HoldsNot);
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for condition in [
            json!({"at": "/a"}),
            json!({"at": "/a", "equals": 1, "less": 2}),
            json!({"at": "a", "equals": 1}),
            json!({"at": "/a", "in": []}),
        ] {
            let condition: Condition = serde_json::from_value(condition.clone()).unwrap();
            assert!(condition.check().is_err(), "{condition:?}");
        }
        assert!(serde_json::from_value::<Condition>(json!({"at": "/a", "cidr": ["10.0.0.0/33"]})).is_err());
        assert!(serde_json::from_value::<Condition>(json!({"at": "/a", "host": ["https://a.com"]})).is_err());
        assert!(serde_json::from_value::<Condition>(json!({"at": "/a", "equal": 1})).is_err());
    }
}
