//! Collectors, Redis and masters of a Redis Cluster are killed at random, as programs, while senders send: what was
//! acknowledged is there once, and gaps are exact. `WEIR_TEST_KILL_SECONDS` makes it longer.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::cluster::{Cluster, FAILOVER, wait};
use support::{Redis, event, free_port};

const SENDERS: u64 = 8;
const COLLECTORS: usize = 3;

fn seconds() -> Duration {
    let asked = std::env::var("WEIR_TEST_KILL_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(6))
}

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Programs that keep their events in the same Redis; each may be gone at any time.
struct Collectors {
    options: Vec<String>,
    ports: Vec<u16>,
    programs: Vec<Mutex<Child>>,
}

impl Drop for Collectors {
    fn drop(&mut self) {
        (0..self.programs.len()).for_each(|index| self.kill(index));
    }
}

impl Collectors {
    fn start(options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let ports: Vec<u16> = (0..COLLECTORS).map(|_| free_port()).collect();
        let programs = ports.iter().map(|port| Mutex::new(Self::launch(*port, &options))).collect();
        Self { options, ports, programs }
    }

    fn launch(port: u16, options: &[String]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("WEIR_COLLECTOR") || name == "REDIS_URL") {
            command.env_remove(variable);
        }
        command.args(["collect", "--listen", &format!("127.0.0.1:{port}")]).args(options);
        command.stderr(Stdio::null()).spawn().expect("weir starts")
    }

    fn kill(&self, index: usize) {
        let mut program = self.programs[index].lock().expect("no test panicked");
        let _ = program.kill();
        let _ = program.wait();
    }

    fn restart(&self, index: usize) {
        *self.programs[index].lock().expect("no test panicked") = Self::launch(self.ports[index], &self.options);
    }

    fn url(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[index % COLLECTORS])
    }

    fn is_up(&self, index: usize) -> bool {
        TcpStream::connect(("127.0.0.1", self.ports[index])).is_ok()
    }
}

/// What a sender was told, and what it left out on purpose.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<u64>,
    skipped: u64,
    repeated: u64,
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).http_status_as_error(false);
    ureq::Agent::new_with_config(config.build())
}

/// Sends batches to whichever collector answers, until told to stop. Now and then a number is dropped, and told so.
fn send(sender: u64, collectors: &Collectors, stop: &AtomicBool, done: &AtomicU64) -> Sent {
    let (mut sent, mut next, mut dice, agent) = (Sent::default(), 0, Dice(sender), agent());
    while !stop.load(Ordering::Relaxed) {
        let count = 1 + dice.throw(8);
        let name = format!("vm-{sender}");
        if dice.throw(20) == 0 {
            sent.skipped += 1;
            next += 1;
        }
        let events: Vec<_> = (next..next + count).map(|number| event(&format!("{name}-{number}"))).collect();
        let batch = json!({"sender": name, "sequence": next, "dropped": sent.skipped, "events": events}).to_string();
        let started = Instant::now();
        loop {
            let at = usize::try_from(dice.throw(COLLECTORS as u64)).expect("small");
            let request = agent.post(format!("{}/v1/events", collectors.url(at))).header("content-type", "application/json");
            match request.send(batch.as_str()) {
                Ok(answer) if answer.status() == 202 => break,
                Ok(answer) => assert_eq!(answer.status(), 503, "a batch is refused"),
                Err(_) => {}
            }
            sent.repeated += 1;
            assert!(started.elapsed() < FAILOVER, "a batch is not taken");
            std::thread::sleep(Duration::from_millis(20));
        }
        sent.acknowledged.extend(next..next + count);
        next += count;
        done.fetch_add(count, Ordering::Relaxed);
    }
    sent
}

fn get(url: &str) -> Value {
    let started = Instant::now();
    loop {
        if let Ok(mut answer) = agent().get(url).call()
            && answer.status() == 200
        {
            let text = answer.body_mut().with_config().limit(64 * 1024 * 1024).read_to_string().expect("text");
            return serde_json::from_str(&text).expect("JSON");
        }
        assert!(started.elapsed() < FAILOVER, "{url} is not answered");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Everything that is stored: sender, number and id.
fn stored(url: &str) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut path = format!("{url}/v1/events?limit=1000");
    loop {
        let page = get(&path);
        for one in page["events"].as_array().expect("a list") {
            let (sender, number) = (one["sender"].as_str().expect("text"), one["sequence"].as_u64().expect("a number"));
            assert_eq!(one["event"]["id"], format!("{sender}-{number}"));
            found.entry(sender.to_owned()).or_default().push(number);
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("{url}/v1/events?limit=1000&before={next}");
    }
    found.values_mut().for_each(|numbers| numbers.sort_unstable());
    found
}

/// Lets senders send while `kill` kills, and then holds what is stored against what was acknowledged.
fn hold(what: &str, collectors: &Collectors, mut kill: impl FnMut(&mut Dice) -> &'static str + Send) {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    wait("a collector answers", || (0..COLLECTORS).all(|index| collectors.is_up(index)));
    let started = Instant::now();
    let (sent, kills) = std::thread::scope(|scope| {
        let sending: Vec<_> = (0..SENDERS)
            .map(|sender| {
                (
                    sender,
                    scope.spawn({
                        let (stop, done) = (&stop, &done);
                        move || send(sender, collectors, stop, done)
                    }),
                )
            })
            .collect();
        let (mut kills, mut dice): (BTreeMap<&str, u64>, _) = (BTreeMap::new(), Dice(7));
        while started.elapsed() < seconds() {
            std::thread::sleep(Duration::from_millis(50 + dice.throw(300)));
            let index = usize::try_from(dice.throw(COLLECTORS as u64)).expect("small");
            match dice.throw(3) {
                0 => *kills.entry(kill(&mut dice)).or_default() += 1,
                _ => {
                    collectors.kill(index);
                    *kills.entry("collectors").or_default() += 1;
                    std::thread::sleep(Duration::from_millis(dice.throw(200)));
                    collectors.restart(index);
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        let sent: BTreeMap<_, _> =
            sending.into_iter().map(|(sender, thread)| (format!("vm-{sender}"), thread.join().expect("it sent"))).collect();
        (sent, kills)
    });
    let url = collectors.url(0);
    let found = stored(&url);
    let known = get(&format!("{url}/v1/senders"));
    let (mut lost, mut twice) = (0, 0);
    for (sender, told) in &sent {
        let mut numbers = found.get(sender).cloned().unwrap_or_default();
        let all = numbers.len();
        numbers.dedup();
        twice += all - numbers.len();
        let gone: Vec<_> = told.acknowledged.iter().filter(|number| numbers.binary_search(number).is_err()).collect();
        lost += gone.len();
        assert!(gone.is_empty(), "{sender} was told that {gone:?} are stored, of {}", told.acknowledged.len());
        let facts = known["senders"].as_array().expect("a list").iter().find(|one| one["sender"] == sender.as_str());
        let facts = facts.unwrap_or_else(|| panic!("{sender} is not known"));
        // A number that was left out at the very end is not missing yet.
        assert_eq!(facts["missing"].as_u64(), Some(told.skipped), "gaps of {sender} are exact");
        assert_eq!((facts["conflicts"].as_u64(), facts["dropped"].as_u64()), (Some(0), Some(told.skipped)), "{sender}");
    }
    let repeated: u64 = sent.values().map(|told| told.repeated).sum();
    let skipped: u64 = sent.values().map(|told| told.skipped).sum();
    // Not with a macro: those are captured, and these figures are to be seen.
    let acknowledged = done.load(Ordering::Relaxed);
    let figures = format!(
        "{what}: {acknowledged} events acknowledged in {:.0} s, killed {kills:?}, {repeated} batches sent again, {skipped} numbers left out: \
         {lost} lost, {twice} twice\n",
        started.elapsed().as_secs_f64()
    );
    std::io::stderr().write_all(figures.as_bytes()).expect("stderr");
    assert!(acknowledged > 0 && !kills.is_empty(), "nothing happened");
    assert_eq!((lost, twice), (0, 0));
}

#[test]
fn acknowledged_events_are_there_once_whatever_is_killed_of_collectors_and_a_redis_with_aof() {
    let Some(mut redis) = Redis::start() else { return };
    let collectors = Collectors::start(&["--redis-url", &redis.url()]);
    hold("one Redis", &collectors, |dice| {
        redis.kill();
        std::thread::sleep(Duration::from_millis(dice.throw(300)));
        redis.restart();
        "Redis"
    });
}

#[test]
fn acknowledged_events_are_there_once_whatever_is_killed_of_collectors_and_masters_of_a_cluster() {
    let Some(mut cluster) = Cluster::start() else { return };
    let urls: Vec<_> = cluster.nodes.iter().map(|(port, _)| format!("redis://127.0.0.1:{port}")).collect();
    let collectors = Collectors::start(&["--redis-url", &urls.join(","), "--redis-mode", "cluster", "--redis-shards", "8"]);
    hold("a Cluster", &collectors, |dice| {
        let masters = cluster.masters();
        let victim = masters[usize::try_from(dice.throw(masters.len() as u64)).expect("small")];
        cluster.kill(victim);
        wait("another one takes over", || cluster.masters().len() == 3);
        cluster.restart(victim);
        cluster.wait_until_whole();
        "masters"
    });
}
