//! Hosts, as all readers of a URL take them, and ranges of addresses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest name of a host.
const MAX_NAME_BYTES: usize = 253;

/// Schemes that readers take for that of a URL with a host, with or without `//` behind them.
const SPECIAL: [&str; 6] = ["http", "https", "ws", "wss", "ftp", "file"];

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// In lower case, without the dot at its end.
    Name(String),
    /// Addresses of IPv4 that stand in one of IPv6 are those of IPv4.
    Address(IpAddr),
}

impl Host {
    /// Reads the host of a URL, or of what is a host by itself, with or without a port; `None` where readers could differ about it.
    pub(super) fn of(text: &str) -> Option<Self> {
        let text = text.trim_matches(' ');
        let is_odd = |character: char| character.is_whitespace() || character.is_control() || matches!(character, '\\' | '%');
        let (rest, has_scheme) = match split_scheme(text) {
            Scheme::Url(rest) => (rest, true),
            Scheme::None => (text, false),
            Scheme::Unclear => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at_checked(end)?;
        // What stands behind a query's or a fragment's sign is a host to some who look for the last `@`; a percent sign in a path is none.
        if authority.contains(is_odd)
            || behind.contains(['\\', '\n', '\r', '\t'])
            || (!behind.starts_with('/') && behind.contains('@'))
        {
            return None;
        }
        let host = match authority.split_once('@') {
            None => authority,
            Some((_, host)) if has_scheme && !host.contains('@') => host,
            Some(_) => return None,
        };
        if !has_scheme && let Ok(address) = host.parse::<Ipv6Addr>() {
            return of_ipv6(address);
        }
        if let Some(bracketed) = host.strip_prefix('[') {
            let (address, port) = bracketed.split_once(']')?;
            return if is_port(port) { of_ipv6(address.parse().ok()?) } else { None };
        }
        let (name, port) = host.split_at_checked(host.find(':').unwrap_or(host.len()))?;
        if is_port(port) { Self::named(name) } else { None }
    }

    /// Reads a name, or an address of IPv4.
    fn named(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if name.len() > MAX_NAME_BYTES || !name.split('.').all(is_label) {
            return None;
        }
        if !ends_in_number(name) {
            return Some(Self::Name(name.to_ascii_lowercase()));
        }
        // `127.1`, `2130706433`, `0x7f.1` and `0177.0.0.1` are addresses to some readers, and other ones or names to others.
        name.parse::<Ipv4Addr>().ok().map(|address| Self::Address(address.into()))
    }
}

enum Scheme<'t> {
    Url(&'t str),
    None,
    Unclear,
}

fn split_scheme(text: &str) -> Scheme<'_> {
    let Some((scheme, rest)) = text.split_once(':') else { return Scheme::None };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_special = SPECIAL.iter().any(|special| special.eq_ignore_ascii_case(scheme));
    match rest.strip_prefix("//") {
        Some(rest) if is_scheme && !rest.starts_with('/') => Scheme::Url(rest),
        Some(_) => Scheme::Unclear,
        // `https:host` and `https:/host` have a host to some readers.
        None if is_special => Scheme::Unclear,
        None => Scheme::None,
    }
}

/// A colon and the number of a port, or nothing.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a host is an address of IPv4 to some readers: its last label is a number.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_hexadecimal = last.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x"));
    is_hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit())
}

/// The host that an address of IPv6 is. Forms by which some networks reach one of IPv4 are that to some, and none to others.
fn of_ipv6(address: Ipv6Addr) -> Option<Host> {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(Host::Address(mapped.into()));
    }
    let is_translated = matches!(address.segments(), [0x64, 0xff9b, ..] | [0x2002, ..]);
    let is_compatible = matches!(address.segments(), [0, 0, 0, 0, 0, 0, high, _] if high != 0);
    (!is_translated && !is_compatible).then_some(Host::Address(address.into()))
}

/// A host, or all hosts below a domain (`*.example.com`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    Is(Host),
    IsBelow(String),
}

impl HostPattern {
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Some(domain) = text.strip_prefix("*.") {
            return match Host::named(domain)? {
                Host::Name(domain) => Some(Self::IsBelow(domain)),
                Host::Address(_) => None,
            };
        }
        match text.parse::<Ipv6Addr>() {
            Ok(address) => of_ipv6(address).map(Self::Is),
            Err(_) => Host::named(text).map(Self::Is),
        }
    }

    pub(super) fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Is(known), host) => known == host,
            (Self::IsBelow(domain), Host::Name(name)) => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            (Self::IsBelow(_), Host::Address(_)) => false,
        }
    }
}

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    pub(super) fn read(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u32 = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().ok().filter(|bits| *bits <= most)?,
            Some(_) => return None,
        };
        match address {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                // Hosts are never of that form: the range is one of IPv4, or more than that.
                Some(Self { address: v6.to_canonical(), bits: bits.checked_sub(96)? })
            }
            _ => Some(Self { address, bits }),
        }
    }

    pub(super) fn contains(self, address: IpAddr) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        Host::of(text).map(|host| match host {
            Host::Name(name) => name,
            Host::Address(address) => format!("<{address}>"),
        })
    }

    #[test]
    fn a_host_is_read_out_of_a_url_or_by_itself() {
        for (text, expected) in [
            ("HTTPS://u:p@Example.COM.:1/p", "example.com"),
            ("example.com", "example.com"),
            ("example.com:443/x?y", "example.com"),
            ("localhost:80", "localhost"),
            ("ws://a_b.c", "a_b.c"),
            ("https://a.b/?next=https://c.d/", "a.b"),
            ("https://a.b/@user", "a.b"),
            ("https://a.b/100%25", "a.b"),
            ("10.1.2.3:80", "<10.1.2.3>"),
            ("http://10.1.2.3./", "<10.1.2.3>"),
            ("2001:DB8::1", "<2001:db8::1>"),
            ("http://[2001:db8::1]:80/", "<2001:db8::1>"),
            ("[::1]", "<::1>"),
            ("::ffff:10.0.0.1", "<10.0.0.1>"),
            ("http://[::ffff:a00:1]/", "<10.0.0.1>"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_host_that_readers_could_take_for_another_is_none() {
        for text in [
            "",
            "//example.com",
            "http:///example.com",
            "http://good.com\\@evil.com/",
            "http://a@b@c.com",
            "user@good.com",
            "git@good.com:x",
            "http://good.com#@evil.com",
            "http://good.com?@evil.com/",
            "evil.com?x://good.com@",
            "https:evil.com",
            "https:/evil.com",
            "1http://good.com",
            "good.com/x://evil.com",
            "evil.com:x//good.com",
            "http://ex ample.com",
            "http://exämple.com",
            "http://a%2ecom",
            "http://a..com",
            "http://a.com..",
            "http://a.com:80x/",
            "http://a.com:80:90/",
            "http://[::1/",
            "http://[::1]x/",
            "http://[10.0.0.1]/",
            "http://[fe80::1%25eth0]/",
            "http://::1/",
            "2130706433",
            "http://0x7f.1/",
            "http://0x7F000001",
            "127.1",
            "http://0177.0.0.1",
            "http://1.2.3.4.5/",
            "http://256.1.1.1/",
            "[64:ff9b::10.0.0.1]",
            "[2002:a00:1::]",
            "[::10.0.0.1]",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn patterns_are_hosts_in_any_case_and_others_are_refused() {
        let matches = |pattern: &str, host: &str| HostPattern::read(pattern).unwrap().matches(&Host::of(host).unwrap());
        assert!(matches("API.Example.com", "https://api.example.COM/"));
        assert!(matches("*.EXAMPLE.com.", "a.b.example.com"));
        assert!(!matches("*.example.com", "example.com") && !matches("*.example.com", "badexample.com"));
        assert!(matches("::FFFF:10.0.0.1", "10.0.0.1") && matches("10.0.0.1", "[::ffff:10.0.0.1]:80"));
        for pattern in [
            "",
            "*",
            "*.",
            "a.*.com",
            "*a.com",
            "https://a.com",
            "a.com:80",
            "a.com/",
            "u@a.com",
            "exämple.com",
            "127.1",
            "*.0.0.1",
        ] {
            assert_eq!(HostPattern::read(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn ranges_hold_addresses_of_both_kinds() {
        let holds = |range: &str, address: &str| match Host::of(address) {
            Some(Host::Address(address)) => Network::read(range).unwrap().contains(address),
            other => panic!("{address} is {other:?}"),
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("::ffff:10.0.0.0/104", "10.1.1.1") && holds("2001:db8::/32", "2001:db8:1::"));
        for range in ["10.0.0.0/33", "10.0.0/8", "10.0.0.0/+8", "10.0.0.0/", "::/129", "::ffff:0:0/95", "a.com/8"] {
            assert_eq!(Network::read(range), None, "{range}");
        }
    }
}
