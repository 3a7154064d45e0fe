//! What opens something: keys, tokens, passwords in addresses. Forms as their makers document them; where a maker says no length, the
//! shortest that is in use is enough.

use super::Detector;
use super::checks::{is_github_token, is_jwt, is_no_example};

pub(super) const DETECTORS: &[Detector] = &[
    Detector::checked_early(
        "jwt",
        r"(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{10,500}\.[A-Za-z0-9_\-]{2,}(?:\.[A-Za-z0-9_\-]*)?",
        is_jwt,
    ),
    Detector::new(
        "private_key",
        r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[nr]){1,4}(?:[A-Za-z0-9+/=]{20}|[A-Z][A-Za-z]{2,9}-[A-Z])(?:[A-Za-z0-9+/=\s\\:,.()]|-[A-Za-z0-9])*(?:-----END (?:[A-Z]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----)?",
    ),
    Detector::new(
        "url_credentials",
        r"(?i)\b[a-z][a-z0-9+.\-]{1,15}://[^\s/?#@:'\x22<>{}$\[\]|`]{0,64}:[^\s/?#@:'\x22<>{}$\[\]|`*]{1,128}@[A-Za-z0-9.\-:]*",
    ),
    Detector::checked("aws_access_key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b", is_no_example),
    Detector::checked_early("google_api_key", r"(?<![A-Za-z0-9_\-])AIza[A-Za-z0-9_\-]{35}", is_no_example),
    Detector::checked("github_token", r"\bgh[pousr]_[A-Za-z0-9]{36}\b", is_github_token),
    Detector::new("github_token", r"\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{40,}"),
    Detector::checked_early("npm_token", r"\bnpm_[A-Za-z0-9]{36}", is_no_example),
    Detector::checked_early("anthropic_key", r"\bsk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_\-]{32,}", is_no_example),
    Detector::checked_early("openai_key", r"\bsk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_\-]{32,}", is_no_example),
    Detector::checked("openai_key", r"\bsk-[A-Za-z0-9]{48}\b", is_no_example),
    Detector::checked_early("huggingface_token", r"\b(?:hf|api_org)_[A-Za-z]{34}[A-Za-z0-9]*", is_no_example),
    Detector::checked_early(
        "gitlab_token",
        r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct)-[A-Za-z0-9_\-]{20,}",
        is_no_example,
    ),
    Detector::checked_early("slack_token", r"\bxox[abeoprs]-\d{8,13}-[A-Za-z0-9\-]{10,}", is_no_example),
    Detector::checked_early("slack_token", r"\bxapp-\d-[A-Z0-9]{8,13}-\d{8,15}-[a-f0-9]{32,}", is_no_example),
    Detector::new("slack_token", r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{40,}"),
    Detector::checked_early("stripe_key", r"\b(?:sk|rk)_(?:live|test|prod)_[A-Za-z0-9]{16,}", is_no_example),
    Detector::checked_early("stripe_key", r"\bwhsec_[A-Za-z0-9+/]{32,}", is_no_example),
];
