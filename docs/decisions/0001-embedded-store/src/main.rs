//! Durable sign-ins on the engines that were compared, in turn. Arguments: sign-ins to load first, folder.
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::{Duration, Instant};
const ROWS: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("rows");
const KEYS: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("keys");
const DUE: redb::TableDefinition<&[u8], ()> = redb::TableDefinition::new("due");
fn sizes() -> [usize; 3] {
    [400, 200, 1024]
}
trait Eng {
    fn batch(&mut self, n: usize, r: &mut StdRng);
}
struct R {
    db: redb::Database,
    next: u64,
    rows: bool,
    qr: bool,
    two: bool,
}
impl R {
    fn new(p: &str, rows: bool, two: bool, qr: bool) -> R {
        let _ = std::fs::remove_file(p);
        let db = redb::Builder::new()
            .set_cache_size(64 << 20)
            .create(p)
            .unwrap();
        R {
            db,
            next: 0,
            rows,
            qr,
            two,
        }
    }
}
impl Eng for R {
    fn batch(&mut self, n: usize, r: &mut StdRng) {
        let mut t = self.db.begin_write().unwrap();
        t.set_two_phase_commit(self.two);
        if self.qr {
            t.set_quick_repair(true);
        }
        {
            if self.rows {
                let mut tb = t.open_table(ROWS).unwrap();
                let mut b = vec![0u8; 1100];
                for _ in 0..n {
                    for s in sizes() {
                        r.fill(&mut b[..s]);
                        tb.insert(self.next, &b[..s]).unwrap();
                        self.next += 1;
                    }
                }
            } else {
                let mut tb = t.open_table(KEYS).unwrap();
                let mut d = t.open_table(DUE).unwrap();
                let mut b = vec![0u8; 1100];
                for _ in 0..n {
                    for (i, s) in sizes().into_iter().enumerate() {
                        r.fill(&mut b[..s]);
                        let k: [u8; 17] = r.random();
                        tb.insert(&k[..], &b[..s]).unwrap();
                        if i == 0 {
                            let mut dk = [0u8; 25];
                            dk[..8].copy_from_slice(&(self.next + 1000).to_be_bytes());
                            dk[8..].copy_from_slice(&k);
                            d.insert(&dk[..], ()).unwrap();
                            self.next += 1;
                        }
                    }
                }
            }
        }
        t.commit().unwrap();
    }
}
struct F {
    db: fjall::Database,
    ks: fjall::Keyspace,
    due: fjall::Keyspace,
    next: u64,
}
impl F {
    fn new(p: &str) -> F {
        let _ = std::fs::remove_dir_all(p);
        let db = fjall::Database::builder(p)
            .cache_size(64 << 20)
            .open()
            .unwrap();
        let ks = db
            .keyspace("k", fjall::KeyspaceCreateOptions::default)
            .unwrap();
        let due = db
            .keyspace("d", fjall::KeyspaceCreateOptions::default)
            .unwrap();
        F {
            db,
            ks,
            due,
            next: 0,
        }
    }
}
impl Eng for F {
    fn batch(&mut self, n: usize, r: &mut StdRng) {
        let mut w = self
            .db
            .batch()
            .durability(Some(fjall::PersistMode::SyncData));
        let mut b = vec![0u8; 1100];
        for _ in 0..n {
            for (i, s) in sizes().into_iter().enumerate() {
                r.fill(&mut b[..s]);
                let k: [u8; 17] = r.random();
                w.insert(&self.ks, &k[..], &b[..s]);
                if i == 0 {
                    let mut dk = [0u8; 25];
                    dk[..8].copy_from_slice(&(self.next + 1000).to_be_bytes());
                    dk[8..].copy_from_slice(&k);
                    w.insert(&self.due, &dk[..], &b""[..]);
                    self.next += 1;
                }
            }
        }
        w.commit().unwrap();
    }
}
struct S {
    c: rusqlite::Connection,
    next: u64,
}
impl S {
    fn new(p: &str) -> S {
        for x in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{p}{x}"));
        }
        let c = rusqlite::Connection::open(p).unwrap();
        c.execute_batch("pragma journal_mode=wal; pragma synchronous=full; pragma cache_size=-65536; create table k(k blob primary key, d integer, v blob) without rowid; create table d(d integer, k blob, primary key(d,k)) without rowid").unwrap();
        S { c, next: 0 }
    }
}
impl Eng for S {
    fn batch(&mut self, n: usize, r: &mut StdRng) {
        let t = self.c.transaction().unwrap();
        {
            let mut q = t.prepare_cached("insert into k values(?1,?2,?3)").unwrap();
            let mut qd = t.prepare_cached("insert into d values(?1,?2)").unwrap();
            let mut b = vec![0u8; 1100];
            for _ in 0..n {
                for (i, s) in sizes().into_iter().enumerate() {
                    r.fill(&mut b[..s]);
                    let k: [u8; 17] = r.random();
                    q.execute((&k[..], self.next as i64, &b[..s])).unwrap();
                    if i == 0 {
                        qd.execute((self.next as i64, &k[..])).unwrap();
                        self.next += 1;
                    }
                }
            }
        }
        t.commit().unwrap();
    }
}
fn main() {
    let load: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let dir = std::env::args().nth(2).unwrap();
    std::fs::create_dir_all(&dir).unwrap();
    let mut r = StdRng::seed_from_u64(1);
    let p = |s: &str| format!("{dir}/{s}");
    let mut es: Vec<(&str, Box<dyn Eng>)> = vec![
        (
            "redb keys 1pc",
            Box::new(R::new(&p("a.redb"), false, false, false)),
        ),
        (
            "redb keys 2pc",
            Box::new(R::new(&p("b.redb"), false, true, false)),
        ),
        (
            "redb rows 2pc",
            Box::new(R::new(&p("c.redb"), true, true, false)),
        ),
        (
            "redb rows 2pc+quick",
            Box::new(R::new(&p("d.redb"), true, true, true)),
        ),
        ("fjall", Box::new(F::new(&p("e.fjall")))),
        ("sqlite full", Box::new(S::new(&p("f.sqlite")))),
    ];
    for (n, e) in &mut es {
        let t = Instant::now();
        for _ in 0..load / 1000 {
            e.batch(1000, &mut r);
        }
        println!(
            "{n}: load {load} sign-ins {:.2}s",
            t.elapsed().as_secs_f64()
        );
    }
    for n in [1usize, 64, 100] {
        let mut res = vec![vec![]; es.len()];
        for _ in 0..5 {
            for (i, (_, e)) in es.iter_mut().enumerate() {
                let t = Instant::now();
                let mut c = 0;
                while t.elapsed() < Duration::from_millis(400) {
                    e.batch(n, &mut r);
                    c += n;
                }
                res[i].push((c as f64 / t.elapsed().as_secs_f64()) as u64);
            }
        }
        for (i, (name, _)) in es.iter().enumerate() {
            res[i].sort();
            println!(
                "{n} a txn | {name} | {} / {} / {}",
                res[i][0], res[i][2], res[i][4]
            );
        }
    }
    for (_, e) in es {
        std::mem::forget(e);
    }
}
