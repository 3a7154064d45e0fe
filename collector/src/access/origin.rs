//! Whose page a request comes from. A browser sends requests for every page; it says for which.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

use super::Access;

/// Says why a request must not be answered, whatever it shows.
pub(super) fn objection(access: &Access, writes: bool, request: &Request) -> Option<&'static str> {
    let headers = request.headers();
    let Some(host) = host(request.uri(), headers) else {
        return matches!(access, Access::Loopback).then_some("the request names no host");
    };
    // Links lead here from anywhere.
    let is_link = !writes && headers.get("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
    if !is_of_same_origin(headers, &host) || (!is_link && is_of_other_site(headers)) {
        return Some("another site's page may not do this");
    }
    if !matches!(access, Access::Loopback) || is_loopback(&host) {
        return None;
    }
    // Senders name a cluster of their proxy. A browser cannot be led here by a name without dots, and says where it comes from.
    let is_cluster =
        !host.host().contains(['.', ':']) && !headers.contains_key(header::ORIGIN) && !headers.contains_key("sec-fetch-site");
    if writes && is_cluster {
        return None;
    }
    Some("this collector has no token and answers this machine only: ask for it as localhost or 127.0.0.1")
}

/// Whether a browser says that a page of another site, or of another port, made it send this.
fn is_of_other_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

/// Whether a request names no origin, or that of this collector.
fn is_of_same_origin(headers: &HeaderMap, host: &Authority) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str()))
}

/// What the request asks; an address in its first line counts more than the header (RFC 9112, 3.2.2), and two headers name none.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (uri.authority(), hosts.next(), hosts.next()) {
        (Some(authority), ..) => return Some(authority.clone()),
        (None, Some(host), None) => host,
        _ => return None,
    };
    host.to_str().ok()?.parse().ok()
}

fn is_loopback(host: &Authority) -> bool {
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
