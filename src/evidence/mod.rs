//! Evidence: what the chain was given and what it let leave, of each block that it changed.
//!
//! Every enforcement event names the blocks that were changed, with their sizes and salted hashes. Texts of them stand
//! there only where the policy document says so, redacted by its own policies.

mod passage;

use hashbrown::HashMap;
use serde::Deserialize;
use serde_json::{Value, json};

use self::passage::{KEPT_BYTES, Passage, Side};
use crate::block::{BlockId, BlockKind, Chunk};
use crate::chain::Chain;
use crate::dialect::Delta;
use crate::document::DocumentError;
use crate::event::shortened;

/// Most changed blocks that an event names; the others are counted.
const MAX_CHANGES: usize = 32;
/// Most bytes of texts that are kept for evidence in an exchange. Of what comes beyond them sizes and hashes are known alone.
const MAX_EVIDENCE_BYTES: usize = 256 * 1024;
/// Most bytes of texts, as JSON, in an event: below what the metadata of an event may have.
const MAX_SHOWN_BYTES: usize = 24 * 1024;
/// Longest name of a tool, in characters.
const MAX_NAME_CHARS: usize = 128;
/// The most that `max_bytes` may say: less than is kept, since what is redacted needs what stands behind it.
const MAX_TEXT_BYTES: usize = KEPT_BYTES / 2;

/// The `evidence` of a policy document.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Evidence {
    /// Events show what was given to the chain.
    pub before: bool,
    /// Events show what the chain let leave.
    pub after: bool,
    /// Most bytes of each text.
    pub max_bytes: usize,
    /// Name of the environment variable that holds the salt of hashes.
    pub salt_env: Option<String>,
    /// What hashes are salted with; without it there are none.
    #[serde(skip)]
    pub salt: Vec<u8>,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { before: false, after: false, max_bytes: MAX_TEXT_BYTES, salt_env: None, salt: Vec::new() }
    }
}

impl Evidence {
    /// Looks the salt up, and checks the bounds.
    pub(crate) fn completed(mut self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, DocumentError> {
        if !(1..=MAX_TEXT_BYTES).contains(&self.max_bytes) {
            let message = format!("must be between 1 and {MAX_TEXT_BYTES}");
            return Err(DocumentError::new("evidence.max_bytes", message));
        }
        if let Some(variable) = &self.salt_env {
            let salt = environment(variable).filter(|salt| !salt.is_empty()).ok_or_else(|| {
                let message = format!("the VM has no variable {variable:?}: name it in vm_config.environment_variables");
                DocumentError::new("evidence.salt_env", message)
            })?;
            self.salt = salt.into_bytes();
        }
        Ok(self)
    }
}

/// What came of a block and what left of it.
#[derive(Debug)]
struct Account {
    kind: BlockKind,
    choice: u32,
    name: String,
    name_after: String,
    passage: Passage,
    /// The block is over and was changed.
    is_over: bool,
}

/// Keeps account of the blocks of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    accounts: HashMap<BlockId, Account>,
    /// How many of them are over, and were changed.
    changed: usize,
    /// Changed blocks that are not kept.
    left_out: usize,
    kept_bytes: usize,
}

impl Accounts {
    /// A piece of a block came to the chain.
    pub(crate) fn came(&mut self, salt: &[u8], delta: &Delta<'_>) {
        if delta.name.is_empty() && delta.text.is_empty() {
            return;
        }
        let kept_bytes = &mut self.kept_bytes;
        let account = self.accounts.entry(delta.block).or_insert_with(|| {
            let account = Account::new(delta, *kept_bytes < MAX_EVIDENCE_BYTES);
            *kept_bytes = kept_bytes.saturating_add(account.passage.room());
            account
        });
        push_name(&mut account.name, delta.name);
        account.passage.came(salt, delta.text);
    }

    /// A piece of a block left the chain; `is_as_it_came` says that no policy has changed it.
    pub(crate) fn left(&mut self, salt: &[u8], block: BlockId, name: &str, text: &str, is_as_it_came: bool) {
        let Some(account) = self.accounts.get_mut(&block) else { return };
        push_name(&mut account.name_after, name);
        account.passage.left(salt, text, is_as_it_came);
    }

    /// A policy put this in the place of a block.
    pub(crate) fn exchanged(&mut self, salt: &[u8], block: BlockId, chunk: &Chunk) {
        let (name, text) = match chunk {
            Chunk::Text { text, .. } => ("", text),
            Chunk::ToolCall { name, arguments, .. } => (name.as_str(), arguments),
        };
        self.left(salt, block, name, text, false);
    }

    /// All of a block has come and was decided, unless policies hold some of it beyond its end.
    pub(crate) fn ended(&mut self, block: BlockId) {
        let Some(account) = self.accounts.get_mut(&block) else { return };
        let is_changed = account.is_changed();
        if is_changed && (account.is_over || self.changed < MAX_CHANGES) {
            self.changed = self.changed.saturating_add(usize::from(!account.is_over));
            account.is_over = true;
            return;
        }
        self.left_out = self.left_out.saturating_add(usize::from(is_changed));
        if let Some(account) = self.accounts.remove(&block) {
            self.kept_bytes = self.kept_bytes.saturating_sub(account.passage.room());
        }
    }

    /// Lists what was changed: names, sizes and hashes, and the texts that the document lets be shown.
    pub(crate) fn describe(&mut self, chain: &Chain) -> Option<Value> {
        let mut accounts: Vec<_> = core::mem::take(&mut self.accounts).into_iter().collect();
        accounts.retain(|(_, account)| account.is_changed());
        accounts.sort_by_key(|(block, _)| *block);
        let left_out = self.left_out.saturating_add(accounts.len().saturating_sub(MAX_CHANGES));
        let mut room = MAX_SHOWN_BYTES;
        let shown = accounts.iter().take(MAX_CHANGES).map(|(_, account)| account.describe(chain, &mut room));
        let mut blocks: Vec<_> = shown.collect();
        if left_out > 0 {
            blocks.push(json!({"left_out": left_out}));
        }
        (!blocks.is_empty()).then_some(Value::Array(blocks))
    }
}

impl Account {
    fn new(delta: &Delta<'_>, keeps: bool) -> Self {
        Self {
            kind: delta.kind,
            choice: delta.choice,
            name: String::new(),
            name_after: String::new(),
            passage: Passage::new(keeps),
            is_over: false,
        }
    }

    fn is_changed(&self) -> bool {
        self.name != self.name_after || self.passage.changed().is_some()
    }

    fn describe(&self, chain: &Chain, room: &mut usize) -> Value {
        let before = self.passage.before();
        let changed = self.passage.changed();
        let after = changed.as_ref().unwrap_or(before);
        let is_withheld = after.bytes() == 0 && self.name_after.is_empty();
        let mut shown = json!({
            "kind": kind_name(self.kind),
            "choice": self.choice,
            "before": describe_side(before, chain, chain.evidence.before, room),
            "after": if is_withheld { Value::Null } else { describe_side(after, chain, chain.evidence.after, room) },
        });
        if let Some(shown) = shown.as_object_mut().filter(|_| self.kind.is_tool_call()) {
            shown.insert("tool".to_owned(), self.name.as_str().into());
            if !is_withheld && self.name_after != self.name {
                shown.insert("tool_after".to_owned(), self.name_after.as_str().into());
            }
        }
        shown
    }
}

fn push_name(known: &mut String, name: &str) {
    if !name.is_empty() {
        let room = MAX_NAME_CHARS.saturating_sub(known.chars().count());
        known.push_str(shortened(name, room));
    }
}

fn describe_side(side: &Side, chain: &Chain, shows_text: bool, room: &mut usize) -> Value {
    let mut shown = json!({"bytes": side.bytes()});
    let Some(members) = shown.as_object_mut() else { return shown };
    if !chain.evidence.salt.is_empty() {
        members.insert("hash".to_owned(), side.hash(&chain.evidence.salt).into());
    }
    if shows_text {
        let kept = side.text().to_owned();
        let redacted = chain.policies.iter().fold(kept, |text, policy| policy.redact(&text).unwrap_or(text));
        // What goes on behind the kept text may belong to something that would have been redacted.
        let is_cut = side.is_cut();
        let most = if is_cut { redacted.len().saturating_sub(MAX_TEXT_BYTES) } else { redacted.len() };
        let end = redacted.floor_char_boundary(most.min(chain.evidence.max_bytes));
        let text = redacted.get(..end).unwrap_or_default();
        let json_bytes = serde_json::to_string(text).map_or(usize::MAX, |json| json.len());
        if json_bytes <= *room {
            *room = room.saturating_sub(json_bytes);
            members.insert("text".to_owned(), text.into());
            if is_cut || end < redacted.len() {
                members.insert("cut".to_owned(), true.into());
            }
        }
    }
    shown
}

const fn kind_name(kind: BlockKind) -> &'static str {
    match kind {
        BlockKind::Text => "text",
        BlockKind::Refusal => "refusal",
        BlockKind::Reasoning => "reasoning",
        BlockKind::ToolCall => "tool_call",
        BlockKind::ServerToolCall => "server_tool_call",
        BlockKind::ToolResult => "tool_result",
        BlockKind::Unknown => "unknown",
        BlockKind::Other => "other",
    }
}
