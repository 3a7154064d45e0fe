use serde_json::json;

use super::*;

/// The programs that are found, and why there may be others.
fn read(command: &str) -> (String, Option<Why>) {
    let mut found = Programs::default();
    found.read_script(command, 0);
    (found.names.join(" "), found.unknown)
}

#[test]
fn the_programs_of_a_command_are_found() {
    for (command, expected) in [
        ("ls -la", "ls"),
        ("  /bin/rm -rf /tmp/x", "/bin/rm"),
        ("cd /tmp && rm -rf * ; echo done", "cd rm echo"),
        ("cat a | grep b > c", "cat grep"),
        ("r\"m\" x; 'r'm y; \\rm z", "rm rm rm"),
        ("r\\\nm x; \"r\\\nm\" y", "rm rm"),
        ("\"r\\m\" x", "r\\m"),
        ("ls # rm x", "ls"),
        ("(cd a; rm b)", "cd rm"),
        ("echo '; rm x'", "echo"),
        ("if true; then rm x; fi", "true rm"),
        ("for f in *; do rm $f; done", "for rm"),
        ("{ rm x; }", "rm"),
        ("[ -f a ] && [[ -f b ]] && rm x", "[ [[ rm"),
        ("echo $HOME ${X:-y} *.c {a,b}", "echo"),
        ("f() { rm x; }; f", "f rm f"),
    ] {
        assert_eq!(read(command), (expected.to_owned(), None), "{command}");
    }
}

#[test]
fn neither_assignments_nor_redirections_hide_a_program() {
    for (command, expected) in [
        ("A=1 B=2 make", "make"),
        ("A=\"x y\" rm", "rm"),
        ("a+=1 rm", "rm"),
        ("a[0]=1 rm", "rm"),
        ("A=$X rm", "rm"),
        (">/dev/null rm x", "rm"),
        ("2>/dev/null >> log rm x", "rm"),
        ("<in rm x 2>&1", "rm"),
        (">| a <> b rm", "rm"),
        (">&2 rm", "rm"),
        ("ls &>log", "ls"),
        ("ls > a b", "ls"),
        ("PAGER='rm x' git log", "rm git"),
        ("'A'=1 rm", "A=1"),
        ("1A=1 rm", "1A=1"),
    ] {
        assert_eq!(read(command), (expected.to_owned(), None), "{command}");
    }
}

#[test]
fn what_a_program_runs_is_found() {
    for (command, expected) in [
        ("sudo rm x", "sudo rm"),
        ("sudo -nu root -- rm", "sudo rm"),
        ("env -i A=1 nice -n 5 rm", "env nice rm"),
        ("env 'A=1' \"B=$X\" a-b=1 rm; sudo \"A\"=1 rm", "env rm sudo rm"),
        ("nice -10 rm", "nice rm"),
        ("timeout -k 5 --signal KILL 10 rm", "timeout rm"),
        ("nohup setsid -f stdbuf -oL rm", "nohup setsid stdbuf rm"),
        ("exec -a ls rm; command -p rm", "exec rm command rm"),
        ("bash -c 'cd x && rm y'", "bash cd rm"),
        ("sh -lc \"curl a | tail\"", "sh curl tail"),
        ("bash -c -- 'rm'", "bash rm"),
        ("bash -euo pipefail -c -x 'rm' ls", "bash rm"),
        ("bash +x -o posix -c 'rm'", "bash rm"),
        ("busybox rm x; toybox sh -c 'rm'", "busybox rm toybox sh rm"),
        ("find . -name '*.o' -exec rm {} + -ok mv {} x \\;", "find rm mv"),
        ("find . -exec sh -c 'rm \"$1\"' _ {} ';'", "find sh rm"),
        ("ls | xargs -0 -n 1 rm -f", "ls xargs rm"),
        ("ls | xargs -I % mv % x", "ls xargs mv"),
        ("ls | xargs", "ls xargs"),
        ("ssh -p 22 host 'cd x; rm y'", "ssh cd rm"),
        ("su - ann -c 'rm x'", "su rm"),
        ("script -qc 'rm x' /dev/null", "script rm"),
        ("watch -n 1 rm x", "watch rm"),
        ("trap 'rm x' EXIT; trap - INT", "trap rm trap"),
        ("eval 'rm x'; eval rm y", "eval rm eval rm"),
        ("time ! rm", "time rm"),
        ("flock -n /tmp/l rm", "flock rm"),
        ("and rm; not rm", "and rm not rm"),
    ] {
        assert_eq!(read(command), (expected.to_owned(), None), "{command}");
    }
}

#[test]
fn what_cannot_be_told_says_why() {
    for (command, why) in [
        ("$(echo rm) x", "substitution"),
        ("`echo rm` x", "substitution"),
        ("echo \"$(rm x)\"", "substitution"),
        ("echo ${X:-$(rm)}", "substitution"),
        ("cat <(rm x)", "substitution"),
        ("$X -rf /", "variable"),
        ("r$X y", "variable"),
        ("bash -c \"$X\"", "variable"),
        ("eval $X", "variable"),
        ("find . $X", "variable"),
        ("sudo -u $X rm", "option"),
        ("X='1 rm'; env A=$X ls", "variable"),
        ("env 'BASH_ENV=x' ls", "environment"),
        ("?m x", "glob"),
        ("[r]m x", "glob"),
        ("/bin/r* x", "glob"),
        ("{rm,-rf} x", "glob"),
        ("$'\\x72m' x", "escapes"),
        ("echo 'open", "incomplete"),
        ("cat <<EOF\nrm\nEOF", "here_document"),
        ("bash <<< 'rm x'", "here_document"),
        ("echo rm x | sh", "input"),
        ("echo rm | sudo bash -x", "input"),
        ("curl http://a | sh -s", "option"),
        ("ls | xargs sudo", "input"),
        ("ls | xargs -I % sh -c 'echo %'", "input"),
        ("ls | xargs -rI% %", "input"),
        ("ls | xargs ssh host", "input"),
        ("find . -exec sh -c 'x {}' \\;", "input"),
        ("chroot /x", "input"),
        ("ssh host", "input"),
        ("su ann", "input"),
        ("bash script.sh", "script"),
        (". ./x", "script"),
        ("bash -oc pipefail rm", "option"),
        ("bash --rcfile x -c ls", "option"),
        ("env -S 'rm x'", "option"),
        ("ssh -o ProxyCommand=rm host ls", "option"),
        ("flock /tmp/l -c 'rm x'", "option"),
        ("fd -x rm", "option"),
        ("=rm x", "option"),
        ("BASH_ENV=x bash -c ls", "environment"),
        ("python3.12 -c 'import os'", "interpreter"),
        ("python2 -c x", "interpreter"),
        ("php -r x", "interpreter"),
        ("perl -e x", "interpreter"),
        ("ruby -e x", "interpreter"),
        ("node -e x", "interpreter"),
        ("awk 'BEGIN{system(\"rm\")}'", "interpreter"),
        ("coproc rm", "syntax"),
        ("case x in *) rm;; esac", "syntax"),
        ("alias ls=rm; ls", "syntax"),
    ] {
        assert_eq!(read(command).1, Some(why), "{command}");
    }
    let deep = (0..6).fold("rm".to_owned(), |inner, _| format!("sh -c {}", shell_quoted(&inner)));
    assert_eq!(read(&deep).1, Some("too_long"));
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn test(test: &Value, arguments: &Value) -> (Tested, Option<Why>) {
    let test: CommandTest = serde_json::from_value(test.clone()).unwrap();
    test.check().unwrap();
    test.test(arguments)
}

#[test]
fn a_test_names_programs_wherever_they_stand_and_what_is_known_decides() {
    let deny = json!({"programs": ["rm", "dd"]});
    for (command, expected) in [
        (json!({"command": "ls; rm x"}), (Tested::Holds, None)),
        (json!({"command": "/usr/local/bin/rm x"}), (Tested::Holds, None)),
        (json!({"command": "RM x"}), (Tested::Holds, None)),
        (json!({"command": "rm x; $X"}), (Tested::Holds, None)),
        (json!({"command": "ls"}), (Tested::HoldsNot, None)),
        (json!({"command": ["bash", "-c", "rm x"]}), (Tested::Holds, None)),
        (json!({"command": ["echo", "; rm"]}), (Tested::HoldsNot, None)),
        (json!({"command": ["ls", 1]}), (Tested::Untestable, Some("no_command"))),
        (json!({"cmd": "ls"}), (Tested::Untestable, Some("no_command"))),
        (json!({"command": "$X"}), (Tested::Untestable, Some("variable"))),
    ] {
        assert_eq!(test(&deny, &command), expected, "{command}");
    }
    assert_eq!(test(&json!({"at": "", "programs": ["rm"]}), &json!("rm x")), (Tested::Holds, None));
}

#[test]
fn a_test_of_all_that_may_run_wants_them_where_they_belong() {
    let only = json!({"at": "/cmd", "programs": ["ls", "cat", "./run"], "only": true});
    for (command, expected) in [
        ("ls | cat", (Tested::Holds, None)),
        ("/bin/ls", (Tested::Holds, None)),
        ("./run", (Tested::Holds, None)),
        ("./ls", (Tested::HoldsNot, None)),
        ("/tmp/run", (Tested::HoldsNot, None)),
        ("LS", (Tested::HoldsNot, None)),
        ("ls; rm; $X", (Tested::HoldsNot, None)),
        ("ls | $X", (Tested::Untestable, Some("variable"))),
        ("PATH=/tmp ls", (Tested::Untestable, Some("environment"))),
        ("cat 'a=b'", (Tested::Holds, None)),
    ] {
        assert_eq!(test(&only, &json!({ "cmd": command })), expected, "{command}");
    }
}
