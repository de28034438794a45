use super::bench::*;
use crate::memory::MemoryBlocklist;
use crate::storage::{Block, StoreErrorKind};

/// Blocks that are away while the test says so. Notes how many each look-up was about.
#[derive(Default)]
struct Watched {
    list: MemoryBlocklist,
    away: AtomicBool,
    asked: Mutex<Vec<usize>>,
}

#[async_trait]
impl Blocklist for Watched {
    async fn block(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        self.list.block(blocks).await
    }

    async fn unblock(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        self.list.unblock(blocks).await
    }

    async fn blocked(&self, blocks: Vec<Block>) -> Result<Vec<bool>, StoreError> {
        lock(&self.asked).push(blocks.len());
        match self.away.load(Ordering::Relaxed) {
            true => Err(StoreError::new(StoreErrorKind::Unavailable, "blocked")),
            false => self.list.blocked(blocks).await,
        }
    }

    async fn list_blocked(
        &self,
        owner: &Uid,
        after: Option<&Uid>,
        limit: usize,
    ) -> Result<Vec<Uid>, StoreError> {
        self.list.list_blocked(owner, after, limit).await
    }
}

fn mallory() -> Vec<Block> {
    vec![Block { owner: Uid::new("bob").unwrap(), other: Uid::new("mallory").unwrap() }]
}

fn block(bench: &mut Bench, list: &Watched) {
    bench.pool.run_until(list.block(mallory())).unwrap();
}

fn unblock(bench: &mut Bench, list: &Watched) {
    bench.pool.run_until(list.unblock(mallory())).unwrap();
}

fn open() -> (Bench, Arc<Watched>) {
    let list = Arc::<Watched>::default();
    let routes = Arc::new(MemoryRoutes::default());
    (Bench::with_ports(Policy::default(), routes, Some(list.clone())), list)
}

fn codes(replies: Vec<Reply>) -> Vec<i32> {
    replies.into_iter().map(|reply| C2cResponse::decode(reply.body).unwrap().err_code).collect()
}

#[test]
fn a_message_to_who_blocked_its_sender_is_refused_and_stores_nothing() {
    let (mut bench, list) = open();
    let (mallory, bob) = (bench.log_in("mallory"), bench.log_in("bob"));
    block(&mut bench, &list);
    assert_eq!(bench.refused(send(&mallory, 1, "bob", "a", "hi")), ErrorCode::Forbidden.code());
    for reader in [&mallory, &bob] {
        let page: PullResponse = bench.ask(pull(reader, 0, 0));
        assert_eq!(page.head, 0);
    }
    assert_eq!(bench.carried(), []);
    let back: C2cResponse = bench.ask(send(&bob, 2, "mallory", "b", "leave me"));
    assert_eq!(back.err_code, 0, "a block is one way");
    unblock(&mut bench, &list);
    let again: C2cResponse = bench.ask(send(&mallory, 3, "bob", "a", "hi"));
    assert_eq!((again.err_code, again.version), (0, 2));
}

#[test]
fn a_repeat_of_a_send_from_before_the_block_gets_the_first_answer() {
    let (mut bench, list) = open();
    let mallory = bench.log_in("mallory");
    let named: C2cResponse = bench.ask(send(&mallory, 1, "bob", "a", "hi"));
    let unnamed: C2cResponse = bench.ask(send(&mallory, 2, "bob", "", "ho"));
    block(&mut bench, &list);
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.ask::<C2cResponse>(send(&mallory, 3, "bob", "a", "hi")), named);
    assert_eq!(bench.ask::<C2cResponse>(send(&mallory, 2, "bob", "", "ho")), unnamed);
    let reused = ErrorCode::ClientMsgIdReused.code();
    assert_eq!(bench.refused(send(&mallory, 4, "bob", "a", "other")), reused);
    let page: PullResponse = bench.ask(pull(&mallory, 0, 0));
    assert_eq!(page.head, 2);
}

#[test]
fn what_is_refused_holds_nothing_up() {
    let (mut bench, list) = open();
    let mallory = bench.log_in("mallory");
    block(&mut bench, &list);
    let turn = vec![
        send(&mallory, 1, "carol", "a", "1"),
        send(&mallory, 2, "bob", "b", "2"),
        send(&mallory, 3, "carol", "c", "3"),
        send(&mallory, 4, "bob", "d", "4"),
        send(&mallory, 5, "mallory", "e", "5"),
    ];
    let forbidden = ErrorCode::Forbidden.code();
    assert_eq!(codes(bench.turn(turn)), [0, forbidden, 0, forbidden, 0]);
    unblock(&mut bench, &list);
    assert_eq!(codes(bench.turn(vec![send(&mallory, 6, "bob", "f", "6")])), [0], "nobody waits for b and d");
    let page: PullResponse = bench.ask(pull(&mallory, 0, 0));
    assert_eq!(contents(&page), [(1, "1"), (2, "3"), (3, "5"), (4, "6")]);
}

#[test]
fn while_blocks_cannot_be_looked_up_sends_fail_and_keep_their_order() {
    let (mut bench, list) = open();
    let alice = bench.log_in("alice");
    list.away.store(true, Ordering::Relaxed);
    let turn = vec![send(&alice, 1, "bob", "a", "1"), send(&alice, 2, "alice", "b", "2")];
    assert_eq!(codes(bench.turn(turn)), [7, 0], "what needs no permission goes on");
    list.away.store(false, Ordering::Relaxed);
    assert_eq!(bench.refused(send(&alice, 3, "bob", "c", "3")), 7);
    let turn = vec![send(&alice, 4, "bob", "a", "1"), send(&alice, 5, "bob", "c", "3")];
    assert_eq!(codes(bench.turn(turn)), [0, 0]);
    let page: PullResponse = bench.ask(pull(&alice, 0, 0));
    assert_eq!(contents(&page), [(1, "2"), (2, "1"), (3, "3")]);
}

#[test]
fn a_batch_asks_once_about_each_pair() {
    let (mut bench, list) = open();
    let alice = bench.log_in("alice");
    let turn = (1..).zip(["bob", "bob", "carol", "alice", "bob"]);
    bench.turn(turn.map(|(seq, to)| send(&alice, seq, to, "", "hi")).collect());
    bench.turn(vec![send(&alice, 9, "alice", "", "note to self")]);
    assert_eq!(*lock(&list.asked), [2]);
}
