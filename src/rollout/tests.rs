use super::*;

fn rollout(json: &str) -> Rollout {
    let rollout: Rollout = serde_json::from_str(json).unwrap();
    rollout.check().unwrap();
    rollout
}

fn key(user: &str) -> Key<'_> {
    Key { user: Some(user.as_bytes()), session: None, exchange: b"call" }
}

#[test]
fn percentages_come_in_steps_of_a_ten_thousandth() {
    let share = |json: &str| serde_json::from_str::<Share>(json).map(Share::buckets).ok();
    assert_eq!(share("0"), Some(0));
    assert_eq!(share("0.0001"), Some(1));
    assert_eq!(share("33.3333"), Some(333_333));
    assert_eq!(share("100"), Some(BUCKETS));
    for wrong in ["0.00001", "33.33335", "-1", "100.0001", "\"5\"", "null"] {
        assert_eq!(share(wrong), None, "{wrong}");
    }
}

#[test]
fn raising_the_percentage_moves_nobody_out() {
    let users: Vec<String> = (0..2_000).map(|number| format!("user-{number}")).collect();
    let mut inside = vec![false; users.len()];
    for percentage in ["0", "0.5", "1", "12.3456", "50", "99.9999", "100"] {
        let rollout = rollout(&format!(r#"{{"mode":"canary","percentage":{percentage},"seed":"s"}}"#));
        for (user, was_inside) in users.iter().zip(&mut inside) {
            let is_inside = rollout.assign(&key(user), None, false).is_enforced;
            assert!(is_inside || !*was_inside, "{user} at {percentage}");
            *was_inside = is_inside;
        }
    }
    assert!(inside.iter().all(|inside| *inside), "100 % are all");
}

#[test]
fn the_share_is_what_was_asked_for_and_even_over_the_buckets() {
    const KEYS: u32 = 100_000;
    const CELLS: usize = 100;
    let mut cells = [0_u32; CELLS];
    for number in 0..KEYS {
        let bucket = bucket("share", format!("user-{number}").as_bytes());
        cells[bucket as usize * CELLS / BUCKETS as usize] += 1;
    }
    let expected = f64::from(KEYS) / CELLS as f64;
    let chi_square: f64 = cells.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    // 99 degrees of freedom: 148.2 is exceeded once in a thousand.
    assert!(chi_square < 148.2, "{chi_square}");
}

#[test]
fn the_same_key_stays_and_another_seed_draws_anew() {
    let one = rollout(r#"{"mode":"canary","percentage":50,"seed":"one"}"#);
    let other = rollout(r#"{"mode":"canary","percentage":50,"seed":"other"}"#);
    let mut moved = 0;
    for number in 0..1_000 {
        let user = format!("user-{number}");
        let standing = one.assign(&key(&user), None, false);
        assert_eq!(standing, one.assign(&key(&user), None, false));
        moved += u32::from(standing.is_enforced != other.assign(&key(&user), None, false).is_enforced);
    }
    assert!((400..600).contains(&moved), "{moved}");
}

#[test]
fn who_has_no_key_is_left_to_the_control_arm() {
    let rollout = rollout(r#"{"mode":"canary","percentage":100,"seed":"s","sticky":"session"}"#);
    let standing = rollout.assign(&key("ann"), None, false);
    assert_eq!((standing.is_enforced, standing.key, standing.bucket), (false, Some("missing"), None));
    let standing = rollout.assign(&Key { session: Some(b"7"), ..key("ann") }, None, false);
    assert_eq!((standing.is_enforced, standing.key), (true, Some("session")));
}

#[test]
fn a_target_can_have_a_mode_of_its_own() {
    let rollout = rollout(r#"{"mode":"enforced","targets":{"mcp_tool":"shadow"}}"#);
    assert!(rollout.assign(&key("ann"), Some(Dialect::Messages), false).is_enforced);
    assert!(!rollout.assign(&key("ann"), Some(Dialect::McpTool), false).is_enforced);
}

#[test]
fn what_is_rolled_back_is_told_only() {
    let rollout = rollout(r#"{"mode":"canary","percentage":100,"seed":"s"}"#);
    let standing = rollout.assign(&key("ann"), None, true);
    assert_eq!((standing.is_enforced, standing.mode), (false, Mode::Rollback));
}

#[test]
fn mistakes_are_named() {
    for (json, path) in [
        (r#"{"mode":"canary","seed":"s"}"#, "rollout.percentage"),
        (r#"{"mode":"canary","percentage":5}"#, "rollout.seed"),
        (r#"{"targets":{"messages":"canary"},"percentage":5}"#, "rollout.seed"),
        (r#"{"seed":""}"#, "rollout.seed"),
        (r#"{"steps":[{"percentage":5,"hold":"1h"},{"percentage":1,"hold":"1h"}]}"#, "rollout.steps"),
        (r#"{"rollback":{"share":0}}"#, "rollout.rollback.share"),
        (r#"{"rollback":{"window":"25h"}}"#, "rollout.rollback.window"),
        (r#"{"rollback":{"alpha":1}}"#, "rollout.rollback.alpha"),
    ] {
        let rollout: Rollout = serde_json::from_str(json).unwrap();
        assert_eq!(rollout.check().unwrap_err().path, path, "{json}");
    }
}

/// A generator of numbers that is the same everywhere.
struct Random(u64);

impl Random {
    fn is_below(&mut self, rate: f64) -> bool {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / ((1_u64 << 53) as f64) < rate
    }
}

/// In how many of `runs` the arms are told apart, looked at after every one of `exchanges`.
fn alarms(runs: u64, exchanges: u32, canary: f64, control: f64, share: f64, alpha: f64) -> u64 {
    let mut random = Random(7);
    let mut one = || {
        let mut arms = Arms::default();
        (0..exchanges).any(|_| {
            let (arm, rate) = if random.is_below(share) { (&mut arms.canary, canary) } else { (&mut arms.control, control) };
            arm.0 += 1;
            arm.1 += u32::from(random.is_below(rate));
            arms.reject(alpha)
        })
    };
    (0..runs).map(|_| u64::from(one())).sum()
}

#[test]
fn the_comparison_raises_no_more_false_alarms_than_it_may() {
    for (rate, share) in [(0.02, 0.5), (0.3, 0.5), (0.3, 0.1), (0.5, 0.9)] {
        // Standard error at 5 % of 400 runs is 1.1 %.
        let alarms = alarms(400, 1_000, rate, rate, share, 0.05);
        assert!(alarms <= 20, "{alarms} of 400 at {rate}, {share}");
    }
    assert_eq!(alarms(100, 1_000, 0.1, 0.3, 0.5, 0.05), 0, "a canary that does better is left alone");
}

#[test]
fn the_comparison_finds_what_is_worse() {
    assert!(alarms(100, 1_000, 0.3, 0.05, 0.5, 0.01) >= 99);
    assert!(alarms(100, 2_000, 0.5, 0.05, 0.1, 0.01) >= 95);
}
