//! Rules at work on texts that events are to show.

use weir::arguments::Arguments;

use super::Rules;
use super::texts::Texts;

/// What takes the place of a text that cannot be shown in part, and of what a refused text had from the match on.
const REDACTED: &str = "[redacted]";

/// Most bytes that replacements may add to a text.
const MAX_GROWTH: usize = 64 * 1024;

impl Rules {
    /// Takes out of a text what rules are against, whatever texts they are for; `None` where there is nothing.
    pub(super) fn redact_shown(&self, text: &str) -> Option<String> {
        // No service is asked for what events show.
        if self.rules.iter().any(|rule| rule.categories.is_some() && rule.acts()) {
            return Some(REDACTED.to_owned());
        }
        let (mut shown, mut is_changed) = (text.to_owned(), false);
        let groups = self.groups.all().into_iter().chain(self.summaries.all());
        for group in groups.filter(|group| !group.acting.is_empty()) {
            let mut texts = Texts::default();
            texts.begin();
            texts.output.edited.most_growth = Some(MAX_GROWTH);
            // Arguments of calls are searched as a client reads them, and then as they stand, keys included.
            match Arguments::read(&shown) {
                Some(mut arguments) => {
                    arguments.edit_strings(|_, text| texts.edit(group, text));
                    if let Some(edited) = arguments.into_text() {
                        (shown, is_changed) = (edited, true);
                    }
                }
                // Cut off, an escape can hide what it stands for.
                None if shown.trim_start().starts_with('{') && shown.contains("\\u") => return Some(REDACTED.to_owned()),
                None => {}
            }
            if let Some(edited) = texts.edit(group, &shown) {
                (shown, is_changed) = (edited, true);
            }
            if texts.output.edited.exceeded {
                return Some(REDACTED.to_owned());
            }
            if texts.output.refused.is_some() {
                shown.push_str(REDACTED);
            }
        }
        is_changed.then_some(shown)
    }
}
