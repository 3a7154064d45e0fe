//! Conditions on a value at a place of JSON.

use core::net::IpAddr;

use serde::Deserialize;
use serde_json::{Number, Value};
use weir::document::DocumentError;

/// Most conditions that a rule has, and most entries of a list in one.
const MAX_ENTRIES: usize = 1_000;

/// A test of the value at a JSON pointer. Exactly one test is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition {
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
    cidr: Option<Vec<Network>>,
    host: Option<Vec<String>>,
    greater: Option<Number>,
    less: Option<Number>,
    exists: Option<bool>,
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
    /// There is no value that could be tested: nothing stands there, or something of another type.
    Untestable,
}

impl Condition {
    /// Refuses a condition that is none.
    pub(crate) fn check(&self) -> Result<(), DocumentError> {
        let tests = [
            self.equals.is_some(),
            self.is_in.is_some(),
            self.contains.is_some(),
            self.prefix.is_some(),
            self.suffix.is_some(),
            self.cidr.is_some(),
            self.host.is_some(),
            self.greater.is_some(),
            self.less.is_some(),
            self.exists.is_some(),
        ];
        if tests.into_iter().filter(|is_given| *is_given).count() != 1 {
            let message = "give one of equals, in, contains, prefix, suffix, cidr, host, greater, less and exists";
            return Err(DocumentError::new("", message));
        }
        if !self.at.is_empty() && !self.at.starts_with('/') {
            return Err(DocumentError::new("at", "must be a JSON pointer, such as \"/path\", or empty for all of it"));
        }
        let lists = [self.is_in.as_ref().map(Vec::len), self.cidr.as_ref().map(Vec::len), self.host.as_ref().map(Vec::len)];
        if lists.into_iter().flatten().any(|length| length == 0 || length > MAX_ENTRIES) {
            return Err(DocumentError::new("", "a list must have 1 to 1000 entries"));
        }
        Ok(())
    }

    /// Tests the value that stands there in `whole`.
    pub(crate) fn test(&self, whole: &Value) -> Tested {
        let value = whole.pointer(&self.at);
        if let Some(exists) = self.exists {
            return self.turned(value.is_some() == exists);
        }
        let Some(value) = value else { return Tested::Untestable };
        self.test_value(value).map_or(Tested::Untestable, |holds| self.turned(holds))
    }

    const fn turned(&self, holds: bool) -> Tested {
        if holds == self.not { Tested::HoldsNot } else { Tested::Holds }
    }

    /// `None` where the value is of another type than the test.
    fn test_value(&self, value: &Value) -> Option<bool> {
        if let Some(expected) = &self.equals {
            return Some(is_same(value, expected));
        }
        if let Some(expected) = &self.is_in {
            return Some(expected.iter().any(|expected| is_same(value, expected)));
        }
        if let Some(bound) = &self.greater {
            return Some(value.as_f64()? > bound.as_f64()?);
        }
        if let Some(bound) = &self.less {
            return Some(value.as_f64()? < bound.as_f64()?);
        }
        let text = value.as_str()?;
        if let Some(part) = &self.contains {
            return Some(text.contains(part.as_str()));
        }
        if let Some(prefix) = &self.prefix {
            return Some(text.starts_with(prefix.as_str()));
        }
        if let Some(suffix) = &self.suffix {
            return Some(text.ends_with(suffix.as_str()));
        }
        if let Some(hosts) = &self.host {
            let host = host_of(text)?;
            return Some(hosts.iter().any(|pattern| is_host(&host, pattern)));
        }
        let networks = self.cidr.as_ref()?;
        let address: IpAddr = host_of(text)?.parse().ok()?;
        Some(networks.iter().any(|network| network.contains(address)))
    }
}

/// Tests all conditions. They hold where each does; one that cannot be tested makes all untestable unless another fails.
pub(crate) fn test_all(conditions: &[Condition], whole: Option<&Value>) -> Tested {
    let Some(whole) = whole else { return if conditions.is_empty() { Tested::Holds } else { Tested::Untestable } };
    let mut tested = Tested::Holds;
    for condition in conditions {
        match condition.test(whole) {
            Tested::Holds => {}
            Tested::HoldsNot => return Tested::HoldsNot,
            Tested::Untestable => tested = Tested::Untestable,
        }
    }
    tested
}

/// Numbers are the same by their value: 1 is 1.0.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other).is_eq(),
        _ => one == other,
    }
}

/// The host of a URL, or of what is a host by itself, in lower case; `None` where readers could differ about it.
pub(crate) fn host_of(text: &str) -> Option<String> {
    let text = text.trim();
    if text.chars().any(|character| character.is_whitespace() || character.is_control() || character == '\\') {
        return None;
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.matches('@').count() > 1 {
        return None;
    }
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = if let Some(bracketed) = host.strip_prefix('[') {
        bracketed.split(']').next().unwrap_or_default()
    } else if host.matches(':').count() > 1 {
        host
    } else {
        host.split(':').next().unwrap_or_default()
    };
    let host = host.trim_end_matches('.').to_lowercase();
    // Names in other letters, and percent signs, are resolved differently by different readers.
    (!host.is_empty() && host.is_ascii() && !host.contains('%')).then_some(host)
}

fn is_host(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => host.eq_ignore_ascii_case(pattern),
    }
}

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let address = if let IpAddr::V6(v6) = address { v6.to_canonical() } else { address };
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32_u32.saturating_sub(self.bits);
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128_u32.saturating_sub(self.bits);
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (address, bits) = text.split_once('/').map_or((text.as_str(), None), |(address, bits)| (address, Some(bits)));
        let parsed = address.parse::<IpAddr>().ok().and_then(|address| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok()).filter(|bits| *bits <= most)?;
            Some(Self { address, bits })
        });
        parsed.ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a range of addresses such as \"10.0.0.0/8\"")))
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
            "list": ["a", {"b": null}], "mapped": "::ffff:10.0.0.1", "six": "http://[2001:db8::1]:80/"});
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
            (json!({"at": "/none", "equals": 1}), Tested::Untestable),
            (json!({"at": "/none", "equals": 1, "not": true}), Tested::Untestable),
            (json!({"at": "/n", "contains": "5"}), Tested::Untestable),
            (json!({"at": "/path", "greater": 1}), Tested::Untestable),
        ] {
            assert_eq!(tested(condition.clone(), &whole), expected, "{condition}");
        }
    }

    #[test]
    fn a_host_that_readers_could_take_for_another_is_none() {
        for text in
            ["http://good.com\\@evil.com/", "http://a@b@c.com", "http://ex ample.com", "http://exämple.com", "http://a%2ecom", ""]
        {
            assert_eq!(host_of(text), None, "{text}");
        }
        assert_eq!(host_of("HTTPS://u:p@Example.COM.:1/p").as_deref(), Some("example.com"));
        assert_eq!(host_of("//example.com").as_deref(), None);
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
        assert!(serde_json::from_value::<Condition>(json!({"at": "/a", "equal": 1})).is_err());
    }
}
