//! Programs that run others, and how they are told which.

use super::Why;

/// How a program is told what it runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Passes {
    /// By the words behind its options and so many operands.
    Words(Options),
    /// The same, and what comes in puts more words behind them.
    Input(Options),
    /// By the words behind `-exec` and its like.
    Exec,
    /// By the words behind `-x`, which stands in any group of options.
    ExecFlag,
    /// By the words behind its options and operands, joined to a script.
    Joined(Options),
    /// By the value of `-c`, a script.
    Command(Options),
    /// By a script behind `-c`, by a file, or by what comes in.
    Shell,
    /// By its first operand, a script.
    Trap,
    /// It sets variables.
    Variables,
    /// Its words are data; what it runs stands in commands of their own.
    Data,
    /// In a way that is not read here.
    Otherwise(Why),
}

/// The options of a program.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// Letters of those without a value; `#` stands for numbers.
    pub(super) flags: &'static str,
    /// Letters of those with one.
    pub(super) values: &'static str,
    /// Long ones; those with a value end in `=`.
    pub(super) long: &'static str,
    /// How many words stand between the options and what is run.
    pub(super) operands: usize,
    /// Without a command it runs a shell.
    pub(super) is_shell_alone: bool,
}

const fn options(flags: &'static str, values: &'static str, long: &'static str, operands: usize) -> Options {
    Options { flags, values, long, operands, is_shell_alone: false }
}

/// Options of shells.
pub(super) const SHELL: Options =
    options("abcefhiklmnprtuvxyBCDEHPTVX", "oO", "login noprofile norc posix verbose restricted", 0);

const NONE: Options = options("", "", "", 0);
const SUDO: Options = options(
    "AbEHknPSV",
    "CDghpRrTtUu",
    "user= group= host= prompt= chdir= chroot= role= type= command-timeout= non-interactive preserve-env background stdin set-home",
    0,
);
const TIMEOUT: Options = options("vf", "ks", "foreground preserve-status verbose kill-after= signal=", 1);
const XARGS: Options = options(
    "0prtxo",
    "LnPsdEaI",
    "null no-run-if-empty verbose exit max-args= max-procs= max-lines= max-chars= delimiter= arg-file= eof=",
    0,
);
const SSH: Options = options("46AaCfGgKkMNnqsTtVvXxYy", "BbcDEeIiJLlmpQRSWw", "", 1);
const SU: Options = options("lmpPfq", "cgGsTB", "login preserve-environment command= group= quiet", 0);

/// The programs, by their names in lower case without the number of a version.
const TABLE: &[(&str, Passes)] = &[
    (" nohup builtin and or not begin noglob nocorrect busybox toybox ", Passes::Words(NONE)),
    (" sudo ", Passes::Words(SUDO)),
    (" doas ", Passes::Words(options("Ln", "aCu", "", 0))),
    (" env ", Passes::Words(options("0iv", "uC", "ignore-environment null debug unset= chdir=", 0))),
    (" nice ", Passes::Words(options("#", "n", "adjustment=", 0))),
    (" ionice ", Passes::Words(options("t", "cn", "class= classdata= ignore", 0))),
    (" setsid ", Passes::Words(options("cfw", "", "ctty fork wait", 0))),
    (" time ", Passes::Words(options("pvaql", "fo", "portability verbose append quiet format= output=", 0))),
    (" timeout gtimeout ", Passes::Words(TIMEOUT)),
    (" stdbuf ", Passes::Words(options("", "ioe", "input= output= error=", 0))),
    (" exec ", Passes::Words(options("cl", "a", "", 0))),
    (" command ", Passes::Words(options("pvV", "", "", 0))),
    (" caffeinate ", Passes::Words(options("disum", "tw", "", 0))),
    (" strace ltrace ", Passes::Words(options("cCdfFhiqrtTvVxyzZ", "abeEIOpPsSuUX", "", 0))),
    (" flock ", Passes::Words(options("sxnuFo", "wE", "shared exclusive nonblock unlock close timeout= wait=", 1))),
    (" repeat ", Passes::Words(options("", "", "", 1))),
    (" chroot ", Passes::Words(Options { is_shell_alone: true, ..options("", "", "userspec= groups=", 1) })),
    (" xargs gxargs ", Passes::Input(XARGS)),
    (" find gfind ", Passes::Exec),
    (" fd fdfind ", Passes::ExecFlag),
    (" eval ", Passes::Joined(NONE)),
    (" ssh ", Passes::Joined(Options { is_shell_alone: true, ..SSH })),
    (" watch ", Passes::Joined(options("bcdegtwx", "nq", "beep color differences errexit no-title interval=", 0))),
    (" su runuser ", Passes::Command(SU)),
    (" script ", Passes::Command(options("aefq", "cEImoOtBT", "command= quiet append return flush", 0))),
    (" sh bash zsh dash ksh mksh ash rbash ", Passes::Shell),
    (" trap ", Passes::Trap),
    (" export declare typeset readonly local ", Passes::Variables),
    (" for select ", Passes::Data),
    (" case function coproc alias hash enable bind complete compgen mapfile readarray fc ", Passes::Otherwise("syntax")),
    (" source . ", Passes::Otherwise("script")),
    (" at batch crontab parallel unshare nsenter systemd-run expect ", Passes::Otherwise("input")),
    (
        " python pypy perl ruby node nodejs deno bun php lua luajit awk gawk mawk nawk tclsh wish osascript pwsh powershell cmd \
         rscript julia irb ipython gdb lldb vi vim nvim ex view ed emacs jshell groovy scala ghci fish tcsh csh ",
        Passes::Otherwise("interpreter"),
    ),
];

/// Looks up how the program of this file runs others; `None` where it does not.
pub(super) fn find(file: &str) -> Option<Passes> {
    let lower = file.to_ascii_lowercase();
    let name = lower.strip_suffix(".exe").unwrap_or(&lower);
    // `python3.12` is a python.
    let versionless = name.split(|character: char| character.is_ascii_digit()).next().unwrap_or_default();
    let name = if versionless.is_empty() { name } else { versionless };
    let name = format!(" {name} ");
    TABLE.iter().find(|(names, _)| names.contains(name.as_str())).map(|(_, passes)| *passes)
}
