//! Tries all interleavings of the engine's loop and its callers on `src/engine/gate.rs`.
#![cfg(all(test, loom))]

#[path = "../../src/engine/gate.rs"]
mod gate;

use gate::{Gate, Steps};
use loom::sync::Arc;
use loom::thread;

/// Runs all interleavings with at most three preemptions, which take a second; all take 20.
fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

/// Steps of the loop, and the work that callers have added between them.
#[derive(Default)]
struct Work {
    in_step: bool,
    steps: usize,
    leases: usize,
    /// Leases at the beginning of the step in work.
    at_begin: usize,
}

impl Steps for Work {
    fn is_in_step(&self) -> bool {
        self.in_step
    }
}

/// A step as the loop does it: planned under the lock, worked on without it, submitted.
fn step(gate: &Gate<Work>) {
    {
        let mut work = gate.lock();
        assert!(!work.in_step);
        work.in_step = true;
        work.at_begin = work.leases;
    }
    // The work reads the plan again.
    {
        let work = gate.lock();
        assert_eq!(work.leases, work.at_begin, "a caller came between plan and work");
    }
    gate.submitted(|work| {
        work.in_step = false;
        work.steps += 1;
    });
}

fn lease(gate: &Gate<Work>) {
    let mut work = gate.between_steps();
    assert!(!work.in_step);
    work.leases += 1;
}

#[test]
fn callers_come_between_steps_and_nobody_waits_for_ever() {
    model(|| {
        let gate = Arc::new(Gate::new(Work::default()));
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let gate = gate.clone();
                thread::spawn(move || lease(&gate))
            })
            .collect();
        step(&gate);
        step(&gate);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        let work = gate.lock();
        assert_eq!((work.steps, work.leases), (2, 2));
    });
}

/// The loop ends within a step, as after a panic: its drop guard lets callers go on.
#[test]
fn a_loop_that_ends_in_a_step_frees_its_callers() {
    model(|| {
        let gate = Arc::new(Gate::new(Work::default()));
        let caller = {
            let gate = gate.clone();
            thread::spawn(move || lease(&gate))
        };
        gate.lock().in_step = true;
        gate.submitted(|work| work.in_step = false);
        caller.join().unwrap();
        assert_eq!(gate.lock().leases, 1);
    });
}
