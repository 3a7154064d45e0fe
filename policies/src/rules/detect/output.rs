//! What answers can do to who reads them: carry data out by the addresses of images and links, and call tools in their text.

use super::Detector;

/// The detector of calls that clients lift out of text.
pub(super) const CALL: &str = "tool_call_text";

pub(super) const DETECTORS: &[Detector] = &[
    // An image is fetched as soon as it is shown.
    Detector::new("markdown_image", r"!\[[^\]\n]{0,200}\]\([ \t]{0,4}<?(?:https?:)?//[^\s()<>]{1,}\)?"),
    Detector::new("markdown_link_data", r"\]\([ \t]{0,4}<?(?:https?:)?//[^\s()<>?#]{1,200}[?#][^\s()<>]{1,}\)?"),
    // Calls that clients lift out of text.
    Detector::new(CALL, r"<(?:tool_call|function_call|function=[A-Za-z0-9_.\-]{1,64}|invoke name)[ >=]"),
    Detector::new(CALL, r"\[TOOL_CALLS\]"),
    Detector::new(CALL, r"<\|(?:python_tag|tool_call|tool_calls_section_begin|tool_call_begin)\|>"),
    Detector::new(
        CALL,
        r"```(?:json|tool_call|tool_code)?\s{1,8}\{\s{0,8}\x22(?:name|tool|function)\x22\s{0,8}:\s{0,8}\x22[^\x22\n]{1,64}\x22\s{0,8},\s{0,8}\x22(?:arguments|parameters|input|args)\x22",
    ),
];
