//! A server over two databases, a MariaDB and a PostgreSQL, each behind a network that stalls. A message between the two is stored in one half first: the
//! server gets SIGKILL when the other database is out of reach for the second half.
//!
//! What was in flight comes from a seed, which a failure names: `IM_SEED=… cargo test -p im-standalone --test end_to_end sharded`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use im_core::id::Uid;
use im_core::storage::{Bucket, Buckets as _, IntentId, Outbox as _, Pending};
use im_proto::CmdId;
use im_proto::v1::{C2cRequest, C2cResponse, PullMsg, SyncRequest, SyncResponse};
use im_store::layer::sharding::BucketMap;
use im_store::sql::SqlStore;
use im_test_servers::{MariaDb, Postgres, Proxy};
use prost::Message as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::kill::{Chance, Sender, assert_has_everything, received, seed};
use super::links::Link;
use super::programs::{STANDALONE, Server, free_port, tokens};

const ROUNDS: u64 = 5;

/// How long a half may wait for its other half once both databases are there again, without anybody who asks.
const SWEPT: Duration = Duration::from_secs(30);

/// How long a half that was stored when the other database stalled may take to show.
const SHOWS: Duration = Duration::from_millis(300);

/// How long a move may take on a machine that does much else.
const MOVED: Duration = Duration::from_secs(60);

/// Stalls of which one comes between two halves.
const STALLS: usize = 60;

/// Two empty databases behind proxies, and the file that names them.
pub(crate) struct Databases {
    proxies: [Proxy; 2],
    folder: TempDir,
    runtime: Runtime,
    /// To look into them, past the proxies.
    stores: [SqlStore; 2],
}

impl Databases {
    pub(crate) fn start() -> Self {
        let urls = [MariaDb::shared().database("sharded"), Postgres::shared().database("sharded")];
        let proxies = [Proxy::start(port(&urls[0])), Proxy::start(port(&urls[1]))];
        let through = |place: usize| with_port(&urls[place], proxies[place].port());
        let folder = tempfile::tempdir().unwrap();
        let names = format!("databases = [{:?}, {:?}]\n", through(0), through(1));
        std::fs::write(folder.path().join("databases.toml"), names).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stores = urls.each_ref().map(|url| runtime.block_on(SqlStore::open(url)).unwrap());
        Self { proxies, folder, runtime, stores }
    }

    /// What a server is told.
    pub(crate) fn store(&self) -> String {
        format!("sharded:{}", self.folder.path().join("databases.toml").display())
    }

    /// The place of a user's database.
    pub(crate) fn of(&self, user: &str) -> usize {
        BucketMap::even(2).unwrap().database(Bucket::of_user(&Uid::new(user).unwrap()))
    }

    /// A user whose database is this one.
    pub(crate) fn user_in(&self, place: usize, name: &str) -> String {
        let mut names = (0..).map(|number| format!("{name}-{number}"));
        names.find(|name| self.of(name) == place).unwrap()
    }

    /// How often buckets have moved.
    fn moves(&self) -> i64 {
        let map = self.runtime.block_on(self.stores[0].bucket_map()).unwrap();
        map.map_or(0, |map| map.version - 1)
    }

    /// Begins to move a user's bucket, as an operator does.
    fn start_move(&self, user: &str, to: usize) -> Child {
        let bucket = Bucket::of_user(&Uid::new(user).unwrap()).number();
        Command::new(STANDALONE)
            .args(["store", "move", &self.store(), "--to", &to.to_string(), "--buckets", &bucket.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// How many first halves in this database wait for their second ones.
    fn halves(&self, place: usize) -> usize {
        let intents = self.stores[place].intents(Pending::After(IntentId::default()), 64);
        self.runtime.block_on(intents).unwrap().len()
    }

    /// Whether there comes to be, or not to be, one of those in time.
    fn has_halves(&self, place: usize, some: bool, time: Duration) -> bool {
        let since = Instant::now();
        while (self.halves(place) > 0) != some {
            if since.elapsed() > time {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

fn port(url: &str) -> u16 {
    let (host, _) = url.rsplit_once('/').unwrap();
    host.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// The database by the way of another port on 127.0.0.1.
fn with_port(url: &str, port: u16) -> String {
    let (before, name) = url.rsplit_once('/').unwrap();
    let (scheme, place) = before.split_once("://").unwrap();
    let user = place.rsplit_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
    format!("{scheme}://{user}127.0.0.1:{port}/{name}")
}

#[test]
fn a_kill_between_the_two_halves_of_messages_loses_doubles_and_reorders_none() {
    let databases = Databases::start();
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &databases, &format!("127.0.0.1:{}", free_port()));
    for round in 0..ROUNDS {
        for home in [0, 1] {
            let seed = seed() + 2 * round + u64::try_from(home).unwrap();
            println!("from database {home}, seed {seed}");
            let mut chance = Chance(seed);
            let from = databases.user_in(home, &format!("alice-{round}"));
            let to = databases.user_in(1 - home, &format!("bob-{round}"));
            let pair = Pair::new(folder.path(), from, to);
            let answers = pair.send_into_a_stall(&server, &databases, home, &mut chance);
            let address = server.address.clone();
            server.kill();
            databases.proxies[1 - home].heal();
            server = start(folder.path(), &databases, &address);
            // Nobody asks: what was stored in one half is delivered all the same.
            assert!(databases.has_halves(home, false, SWEPT), "{} halves", databases.halves(home));
            let delivered = pair.received(&server);
            let (sent, answered) = (answers.len(), answers.iter().flatten().count());
            println!("{sent} sent, {answered} answered, {} delivered by themselves", delivered.len());
            assert!(delivered.len() > answered, "a half was stored");
            pair.assert_delivered_once(&server, &answers, &delivered);
        }
    }
}

/// The writer goes one way and the reader the other, one after the other, with the server in between that knows of neither.
#[test]
fn a_text_survives_moves_of_its_writer_and_its_reader() {
    let databases = Databases::start();
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &databases, &format!("127.0.0.1:{}", free_port()));
    let home = databases.of("alice");
    let there = databases.user_in(1 - home, "bob");
    let mut alice = Sender::start(folder.path(), &server.address, &there, 1);
    alice.wait_for(20);
    let mut movers = Vec::new();
    for (number, (user, to)) in (1..).zip([("alice", 1 - home), (&*there, home)]) {
        let since = Instant::now();
        movers.push(databases.start_move(user, to));
        while databases.moves() < number {
            assert!(since.elapsed() < MOVED, "{user} does not move");
            thread::sleep(Duration::from_millis(5));
        }
        assert!(alice.is_busy(), "{user} moves while messages are sent");
    }
    for mover in movers {
        let output = mover.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        println!("{said}");
        assert!(output.status.success() && said.starts_with("moved buckets=1 timelines=1 "), "{said}");
    }
    alice.finish();
    for device in [["phone", "1"], ["desk", "3"]] {
        assert_has_everything(&received(folder.path(), &server.address, &there, device));
    }
}

fn start(data: &Path, databases: &Databases, address: &str) -> Server {
    Server::start(data, address, &databases.store())
}

/// Who writes and who is written to.
struct Pair {
    from: String,
    to: String,
    tokens: Vec<String>,
}

impl Pair {
    fn new(data: &Path, from: String, to: String) -> Self {
        let tokens = tokens(data, &[from.clone(), to.clone()]);
        Self { from, to, tokens }
    }

    /// Sends messages and stalls the receiver's database somewhere among them, until a half waits for it. The answers that came: not those of the
    /// last messages, of which there is one place for each.
    fn send_into_a_stall(
        &self,
        server: &Server,
        databases: &Databases,
        home: usize,
        chance: &mut Chance,
    ) -> Vec<Option<C2cResponse>> {
        let mut link = Link::ask(&server.address, &self.from, &self.tokens[0]);
        assert!(link.is_granted());
        let mut answers = Vec::new();
        for _ in 0..STALLS {
            let first = u32::try_from(answers.len()).unwrap();
            let numbers = first..first + 4 + u32::try_from(chance.below(12)).unwrap();
            numbers.clone().for_each(|number| self.say(&mut link, number));
            thread::sleep(Duration::from_micros(chance.below(40_000)));
            databases.proxies[1 - home].stall();
            if databases.has_halves(home, true, SHOWS) {
                thread::sleep(Duration::from_millis(chance.below(200)));
                answers.extend(numbers.map(|_| None));
                return answers;
            }
            databases.proxies[1 - home].heal();
            answers.extend(numbers.map(|number| Some(answer(&mut link, number))));
        }
        panic!("no stall comes between two halves");
    }

    fn say(&self, link: &mut Link, number: u32) {
        let message = C2cRequest {
            to: self.to.clone(),
            content: content(number).into(),
            client_msg_id: format!("{}-{number}", self.from),
            ..C2cRequest::default()
        };
        link.say(CmdId::C2C_SEND, seq(number), &message);
    }

    /// Sends everything again, twice: repeats have the first answer, and the receiver has each message once, in the order of sending.
    fn assert_delivered_once(&self, server: &Server, first: &[Option<C2cResponse>], delivered: &[PullMsg]) {
        let again = self.send_all_again(server, first.len());
        for (first, again) in first.iter().zip(&again) {
            assert!(first.as_ref().is_none_or(|first| first == again), "{first:?} {again:?}");
        }
        assert_eq!(self.send_all_again(server, first.len()), again);
        let expected: Vec<Vec<u8>> = (0..).map(content).take(first.len()).collect();
        let msgids: Vec<i64> = again.iter().map(|answer| answer.msgid).collect();
        let received = self.received(server);
        assert_eq!(received[..delivered.len()], *delivered, "what was delivered stays where it was");
        for (timeline, of) in [(&received, "receiver"), (&self.sent(server), "sender")] {
            let contents: Vec<Vec<u8>> = timeline.iter().map(|msg| msg.content.to_vec()).collect();
            assert_eq!(contents, expected, "{of}");
            assert_eq!(timeline.iter().map(|msg| msg.msgid).collect::<Vec<_>>(), msgids, "{of}");
        }
        let versions: Vec<i64> = again.iter().map(|answer| answer.version).collect();
        assert!(versions.into_iter().eq(1..=i64::try_from(first.len()).unwrap()));
    }

    fn send_all_again(&self, server: &Server, messages: usize) -> Vec<C2cResponse> {
        let mut link = Link::ask(&server.address, &self.from, &self.tokens[0]);
        assert!(link.is_granted());
        let numbers = 0..u32::try_from(messages).unwrap();
        numbers.clone().for_each(|number| self.say(&mut link, number));
        numbers.map(|number| answer(&mut link, number)).collect()
    }

    fn received(&self, server: &Server) -> Vec<PullMsg> {
        timeline(server, &self.to, &self.tokens[1])
    }

    fn sent(&self, server: &Server) -> Vec<PullMsg> {
        timeline(server, &self.from, &self.tokens[0])
    }
}

fn timeline(server: &Server, user: &str, token: &str) -> Vec<PullMsg> {
    let mut link = Link::ask(&server.address, user, token);
    assert!(link.is_granted());
    let mut msgs = Vec::new();
    for seq in 2.. {
        let begin = msgs.last().map_or(0, |msg: &PullMsg| msg.version);
        link.say(CmdId::SYNC, seq, &SyncRequest { begin, limit: 50, ..SyncRequest::default() });
        let page = SyncResponse::decode(&link.answer(seq).unwrap()[..]).unwrap();
        assert_eq!(page.err_code, 0, "{}", page.err_msg);
        if page.msgs.is_empty() {
            break;
        }
        msgs.extend(page.msgs);
    }
    msgs
}

/// The answer to a message.
fn answer(link: &mut Link, number: u32) -> C2cResponse {
    let answer = C2cResponse::decode(&link.answer(seq(number)).unwrap()[..]).unwrap();
    assert_eq!(answer.err_code, 0, "{}", answer.err_msg);
    answer
}

fn content(number: u32) -> Vec<u8> {
    format!("message {number}").into_bytes()
}

/// The login was 1.
fn seq(number: u32) -> u32 {
    number + 2
}
