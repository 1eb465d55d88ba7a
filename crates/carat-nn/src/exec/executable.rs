//! A prepared program and its runs.

use super::buffer::{Buffer, Run, Scratch};
use super::constants::Constants;
use super::plan::{Plan, bytes_needed};
use super::simd::{Isa, Simd};
use super::step::Place;
use super::{ExecError, Trace, input};
use carat_program::{Program, Tensor, ValueId, Weights};
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::{Mutex, OnceLock};

/// How to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Threads to use at most; 0: one per processor that the system grants. The answer does not depend on it.
    pub threads: usize,
    /// Vector instructions to use. The answer does not depend on it.
    pub simd: Simd,
    /// Most bytes of working memory for one sample, packed weights included. A batch is cut so that it stays near
    /// what one sample needs or a small cache-sized block, whichever is more.
    pub memory_limit: u64,
    /// Multiply-adds from which on one run spreads over threads. The default is where waking them pays off.
    pub parallel_work: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 0,
            simd: Simd::Auto,
            memory_limit: 16 << 30,
            parallel_work: 1 << 22,
        }
    }
}

/// Elements of all values of the samples that are computed together.
const BLOCK_ELEMENTS: usize = 1 << 18;
/// Most samples that are computed together.
const BLOCK_SAMPLES: usize = 256;

/// Blocks of a thread, where one is enough work for it.
const BLOCK_PARTS: usize = 2;

/// Samples of a block that are not parted.
const BLOCK_LEAST: usize = 16;

/// A program prepared for repeated execution: operations fused, weights packed, memory planned.
///
/// Shared freely between threads. Working memory is kept between runs.
#[derive(Debug)]
pub struct Executable {
    program: Program,
    constants: Constants,
    isa: Isa,
    threads: usize,
    parallel_work: usize,
    plan: Plan,
    traced: OnceLock<Plan>,
    pool: OnceLock<Result<rayon::ThreadPool, String>>,
    sessions: Mutex<Vec<Session>>,
}

/// Working memory of one run.
#[derive(Debug, Default)]
struct Session {
    slots: Vec<Buffer>,
    scratch: Scratch,
}

impl Executable {
    /// Checks a program and its weights, and prepares them.
    ///
    /// The weights' hash tree is not computed again: [`carat_program::ModelFile::decode`] has checked it.
    ///
    /// # Errors
    /// [`ExecError::Program`] if program or weights break a rule, [`ExecError::Memory`] if the program needs more than
    /// [`Options::memory_limit`], [`ExecError::Simd`] if the processor lacks instructions that the options insist on.
    pub fn new(program: &Program, weights: &Weights, options: Options) -> Result<Self, ExecError> {
        program.validate()?;
        input::check_weights(program, weights)?;
        let needed = bytes_needed(program);
        // Packed operands are addressed with 32 bits.
        let limit = options.memory_limit.min(1 << 40);
        if needed > limit {
            return Err(ExecError::Memory { needed, limit });
        }
        let isa = Isa::detect(options.simd)?;
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let constants = Constants::new(weights);
        let plan = Plan::new(program, &constants, isa, true, None);
        Ok(Self {
            program: program.clone(),
            constants,
            isa,
            threads,
            parallel_work: options.parallel_work,
            plan,
            traced: OnceLock::new(),
            pool: OnceLock::new(),
            sessions: Mutex::default(),
        })
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Name of the instruction set in use: `scalar`, `avx2`, `avx512` or `avx512vnni`.
    #[must_use]
    pub fn instructions(&self) -> &'static str {
        self.isa.name()
    }

    /// Threads in use at most.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs one sample: one tensor per input, in program order. Returns one tensor per output.
    ///
    /// # Errors
    /// The `Input...` variants of [`ExecError`] if a tensor does not fit, [`ExecError::Threads`] if threads cannot be
    /// started.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, ExecError> {
        input::check(&self.program, inputs, None)?;
        let slices: Vec<&[i32]> = inputs.iter().map(Tensor::data).collect();
        let outputs = self.execute(1, &slices)?;
        Ok(self
            .program
            .outputs
            .iter()
            .zip(outputs)
            .map(|(spec, data)| self.tensor(spec.value, data))
            .collect())
    }

    /// Runs a batch of samples. The result is the same as that of [`Executable::run`] on each.
    ///
    /// # Errors
    /// As [`Executable::run`], naming the sample. No sample is run if one does not fit.
    pub fn run_batch(&self, batch: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, ExecError> {
        for (s, inputs) in batch.iter().enumerate() {
            input::check(&self.program, inputs, Some(s))?;
        }
        let stacked: Vec<Vec<i32>> = (0..self.program.inputs.len())
            .map(|i| {
                batch
                    .iter()
                    .flat_map(|inputs| inputs[i].data())
                    .copied()
                    .collect()
            })
            .collect();
        let slices: Vec<&[i32]> = stacked.iter().map(Vec::as_slice).collect();
        let outputs = self.execute(batch.len(), &slices)?;
        let each: Vec<usize> = outputs
            .iter()
            .map(|data| data.len() / batch.len().max(1))
            .collect();
        let sample =
            |s: usize| {
                self.program.outputs.iter().zip(&outputs).zip(&each).map(
                    move |((spec, data), &n)| {
                        self.tensor(spec.value, data[s * n..(s + 1) * n].to_vec())
                    },
                )
            };
        Ok((0..batch.len()).map(|s| sample(s).collect()).collect())
    }

    /// Runs `samples` samples whose inputs lie one after the other: one slice per input. Returns one vector per output,
    /// samples one after the other. The fast door for callers with contiguous data.
    ///
    /// # Errors
    /// As [`Executable::run`]; [`ExecError::InputLength`] if a slice has another length than `samples` inputs.
    pub fn run_stacked(
        &self,
        samples: usize,
        inputs: &[&[i32]],
    ) -> Result<Vec<Vec<i32>>, ExecError> {
        if inputs.len() != self.program.inputs.len() {
            let names: Vec<_> = self
                .program
                .inputs
                .iter()
                .map(|x| x.name.as_str())
                .collect();
            return Err(ExecError::InputCount {
                sample: None,
                expected: names.len(),
                found: inputs.len(),
                names: names.join(", "),
            });
        }
        for (spec, data) in self.program.inputs.iter().zip(inputs) {
            let expected = spec.shape.elements();
            if Some(data.len()) != expected.checked_mul(samples) {
                let (name, found) = (spec.name.clone(), data.len());
                return Err(ExecError::InputLength {
                    name,
                    samples,
                    expected,
                    found,
                });
            }
            if let Some((at, value)) = input::outside(data, spec.range) {
                let (sample, element) = (Some(at / expected), at % expected);
                let (name, range) = (spec.name.clone(), spec.range);
                return Err(ExecError::InputRange {
                    sample,
                    name,
                    element,
                    value,
                    range,
                });
            }
        }
        self.execute(samples, inputs)
    }

    /// Runs one sample and keeps every value.
    ///
    /// # Errors
    /// As [`Executable::run`].
    pub fn trace(&self, inputs: &[Tensor]) -> Result<Trace, ExecError> {
        let mut traces = self.trace_batch(&[inputs])?;
        Ok(traces.swap_remove(0))
    }

    /// Runs a batch of samples and keeps every value. The result is the same as that of [`Executable::trace`] on each.
    ///
    /// # Errors
    /// As [`Executable::run`], naming the first sample that does not fit, if there are several. No sample is run if one does not
    /// fit.
    pub fn trace_batch(&self, batch: &[&[Tensor]]) -> Result<Vec<Trace>, ExecError> {
        for (s, inputs) in batch.iter().enumerate() {
            input::check(&self.program, inputs, (batch.len() > 1).then_some(s))?;
        }
        let plan = self.traced.get_or_init(|| {
            let shared = Some(&self.plan);
            Plan::new(&self.program, &self.constants, self.isa, false, shared)
        });
        let all = plan.work.saturating_mul(batch.len());
        let block = self.block(plan, batch.len());
        let blocks: Vec<&[&[Tensor]]> = batch.chunks(block).collect();
        let (across, within) = self.sides(all, blocks.len());
        let one = |batch: &[&[Tensor]]| -> Vec<Trace> {
            let stacked: Vec<Cow<'_, [i32]>> = (0..self.program.inputs.len())
                .map(|i| match batch {
                    [one] => Cow::Borrowed(one[i].data()),
                    many => {
                        let each: Vec<&[i32]> = many.iter().map(|x| x[i].data()).collect();
                        Cow::Owned(each.concat())
                    }
                })
                .collect();
            let from: Vec<&[i32]> = stacked.iter().map(|data| &data[..]).collect();
            let mut session = Session::default();
            let run = self.run_of(batch.len(), within);
            session.run(plan, &self.constants, run, &from);
            let trace = |(s, inputs): (usize, &&[Tensor])| {
                let value = |id: ValueId| {
                    let n = self.program.value(id).map_or(0, |v| v.shape.elements());
                    let all = session.value(plan, &self.constants, id.index());
                    // All samples share one copy of a constant.
                    let s = if self.program.constant_index(id).is_some() {
                        0
                    } else {
                        s
                    };
                    self.tensor(id, all[s * n..(s + 1) * n].to_vec())
                };
                Trace {
                    inputs: inputs.to_vec(),
                    nodes: (0..self.program.nodes.len())
                        .map(|i| value(self.program.node_value(i)))
                        .collect(),
                    outputs: (self.program.outputs.iter())
                        .map(|out| value(out.value))
                        .collect(),
                }
            };
            batch.iter().enumerate().map(trace).collect()
        };
        let traces: Vec<Vec<Trace>> = if across {
            self.spread(all, || blocks.into_par_iter().map(one).collect())?
        } else {
            self.spread(all, || blocks.into_iter().map(one).collect())?
        };
        Ok(traces.into_iter().flatten().collect())
    }

    /// How many samples of a batch are computed together.
    fn block(&self, plan: &Plan, samples: usize) -> usize {
        let elements = plan.slots.iter().sum::<usize>().max(1);
        let fits = (BLOCK_ELEMENTS / elements).clamp(1, BLOCK_SAMPLES);
        if self.spreads(plan.work.saturating_mul(samples)) {
            let each = samples.div_ceil(self.threads);
            // A thread that begins late leaves some of its blocks to others, unless they would be too short.
            let parts = each.div_ceil(each.div_ceil(BLOCK_LEAST).clamp(1, BLOCK_PARTS));
            fits.min(parts).max(1)
        } else {
            fits
        }
    }

    /// Whether blocks run side by side, and whether a step of one may spread over threads, as where there are fewer blocks.
    fn sides(&self, work: usize, blocks: usize) -> (bool, bool) {
        let spread = self.spreads(work);
        (spread && blocks > 1, spread && blocks < self.threads)
    }

    fn run_of(&self, samples: usize, parallel: bool) -> Run {
        Run {
            isa: self.isa,
            samples,
            parallel: parallel.then_some(self.parallel_work),
        }
    }

    /// Work is counted in eighths of multiply-adds.
    fn spreads(&self, work: usize) -> bool {
        self.threads > 1 && work >= self.parallel_work / 8
    }

    fn tensor(&self, id: ValueId, data: Vec<i32>) -> Tensor {
        let shape = self
            .program
            .value(id)
            .map(|v| v.shape.clone())
            .unwrap_or_default();
        Tensor::new(shape, data)
            .expect("outputs have their shape, and their range was proven within ±HALF")
    }

    /// Runs checked, stacked inputs.
    fn execute(&self, samples: usize, inputs: &[&[i32]]) -> Result<Vec<Vec<i32>>, ExecError> {
        let lengths: Vec<usize> = self
            .program
            .inputs
            .iter()
            .map(|x| x.shape.elements())
            .collect();
        let sizes: Vec<usize> = self
            .program
            .outputs
            .iter()
            .map(|out| {
                self.program
                    .value(out.value)
                    .map_or(0, |v| v.shape.elements())
            })
            .collect();
        let mut outputs: Vec<Vec<i32>> = sizes.iter().map(|n| vec![0; n * samples]).collect();
        let all = self.plan.work.saturating_mul(samples);
        let block = self.block(&self.plan, samples);
        // Each block's part of each output.
        let mut parts: Vec<Vec<&mut [i32]>> =
            (0..samples.div_ceil(block)).map(|_| vec![]).collect();
        for (out, n) in outputs.iter_mut().zip(&sizes) {
            parts
                .iter_mut()
                .zip(out.chunks_mut(block * n))
                .for_each(|(part, out)| part.push(out));
        }
        let (across, within) = self.sides(all, parts.len());
        let one = |(i, mut part): (usize, Vec<&mut [i32]>)| {
            let n = block.min(samples - i * block);
            let from: Vec<&[i32]> = inputs
                .iter()
                .zip(&lengths)
                .map(|(x, len)| &x[i * block * len..][..n * len])
                .collect();
            let mut session = self.session();
            session.run(&self.plan, &self.constants, self.run_of(n, within), &from);
            for (out, spec) in part.iter_mut().zip(&self.program.outputs) {
                let value = session.value(&self.plan, &self.constants, spec.value.index());
                if self.program.constant_index(spec.value).is_some() {
                    let each = out.len() / n;
                    out.chunks_exact_mut(each)
                        .for_each(|out| out.copy_from_slice(&value[..each]));
                } else {
                    out.copy_from_slice(&value[..out.len()]);
                }
            }
            self.give_back(session);
        };
        if across {
            self.spread(all, || parts.into_par_iter().enumerate().for_each(one))?;
        } else {
            self.spread(all, || parts.into_iter().enumerate().for_each(one))?;
        }
        Ok(outputs)
    }

    /// Calls `f` among the worker threads if there is enough work, else here.
    fn spread<T: Send>(&self, work: usize, f: impl FnOnce() -> T + Send) -> Result<T, ExecError> {
        // A caller among as many worker threads already, as a prover is, needs no others: those would have to be woken.
        let among =
            rayon::current_thread_index().is_some() && rayon::current_num_threads() == self.threads;
        if among || !self.spreads(work) {
            return Ok(f());
        }
        let pool = self.pool.get_or_init(|| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(self.threads)
                .build()
                .map_err(|e| e.to_string())
        });
        match pool {
            Ok(pool) => Ok(pool.install(f)),
            Err(reason) => Err(ExecError::Threads {
                threads: self.threads,
                reason: reason.clone(),
            }),
        }
    }

    fn session(&self) -> Session {
        let mut idle = self
            .sessions
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        idle.pop().unwrap_or_default()
    }

    fn give_back(&self, session: Session) {
        self.sessions
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(session);
    }
}

impl Session {
    fn run(&mut self, plan: &Plan, constants: &Constants, run: Run, inputs: &[&[i32]]) {
        self.slots.resize_with(plan.slots.len(), Buffer::default);
        for (data, slot) in inputs.iter().zip(&plan.inputs) {
            if let Some(slot) = *slot {
                self.slots[slot].sized(data.len()).copy_from_slice(data);
            }
        }
        for step in &plan.steps {
            step.run(run, &mut self.slots, constants, &mut self.scratch);
        }
    }

    fn value<'a>(&'a self, plan: &Plan, constants: &'a Constants, id: usize) -> &'a [i32] {
        match plan.places[id] {
            Some(Place::Slot(slot)) => self.slots[slot].as_slice(),
            Some(Place::Constant(c)) => constants.wide(c),
            Some(Place::Packed) | None => &[],
        }
    }
}
