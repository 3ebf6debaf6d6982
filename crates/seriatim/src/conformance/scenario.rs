//! Ledger scripts: one command a line with what it answers, the same at every boundary.
//!
//! ```text
//! # A retry after midnight gets the number from before.
//! series invoice format=INV-{fy}-{seq:5} reset=fiscal-year:04-01 time_zone=Asia/Kolkata
//! at 2026-03-31T23:59:59+05:30
//! issue invoice key=a            -> INV-2526-00001
//! at 2026-04-01T00:00:01+05:30
//! issue invoice key=a            -> INV-2526-00001 replayed
//! issue invoice key=b branch=7   -> refused unknown_param /params/branch
//! ```
//!
//! A line without an arrow must succeed, whatever it answers. At the end of a script the store must verify. Words:
//!
//! - `'…'` keeps spaces together; `\u{202e}` stands for that character, `repeat(x,300)` for 300 times `x`.
//! - A `name=value` that is no word of the verb is a param; `p.name=value` always is.
//! - `at TIME` sets the clock, `restart` starts a new process on the same store, `as KEY …` asks with an API key.
//!
//! | line | |
//! |---|---|
//! | `series NAME format=… [if=VERSION] …` | defines or changes; every setting of a series file, `params.x=digits:2` |
//! | `issue SERIES key=… tenant=… date=… document=… reference=… [count=N]` | |
//! | `batch SERIES \| key=a … \| key=b …` | keyed items, all or none |
//! | `preview SERIES [count=N] …` · `reserve SERIES key=… ttl=1h …` | |
//! | `confirm SERIES NUMBER [document=…]` · `release SERIES NUMBER reason=…` · `redact SERIES NUMBER reason=…` | |
//! | `void SERIES NUMBER code=… reason=… [reissue]` · `sweep` | |
//! | `adopt SERIES NUMBER date=… [key=…]` · `advance SERIES to=N [period=…] reason=…` | |
//! | `close SERIES PERIOD reason=…` · `reopen SERIES PERIOD reason=…` · `wipe SERIES` | |
//! | `key NAME scopes=… tenants=… series=… [test]` · `revoke NAME` | an API key, for `as` |
//! | `open EFFECT SUBJECT [attempts=N] [pause=1s] [pause_max=5m]` · `claim EFFECT SUBJECT [ttl=1m] [holder=…] [key=…] …` | a gate |
//! | `renew` · `complete` · `fail EFFECT SUBJECT token=N` with `ttl=…`, `result=…`, `error=… [retry_in=…] [give_up]` · `retry EFFECT SUBJECT reason=…` | |
//! | `gate EFFECT SUBJECT` | a look |
//! | `counter SERIES [period=…] [tenant=…]` · `entry SERIES NUMBER [tenant=…]` · `gaps SERIES` · `verify` | looks |

mod ask;
mod boundary;
mod outcome;
mod read;
mod script;
mod words;

pub use ask::{Ask, GateWords, NewKey, Order, PolicyWords, TakeWords, Which};
pub use boundary::{AtDecide, AtIssuer, Boundary};
pub use outcome::{CounterShown, EntryShown, GapShown, GateShown, NumberShown, Outcome};
pub use script::{Script, run, run_file, update_file};
