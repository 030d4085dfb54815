//! The convolution passes alone: one thread, weights packed beforehand, outputs preallocated, a whole batch.
//!
//! `cargo bench --bench kernels -- [CASE ..] [--passes fwd,dx,dw] [--tier NAME|all] [--type f32|f64] [--quick]`
//!
//! CASE is a part of a name in `cases.csv`. Every sample stands between two runs of a loop that does nothing but
//! multiply and add in registers; where these two disagree the clock moved, and the sample is dropped, as it is when
//! other programs took the core away meanwhile. Samples of all passes and tiers of a case take turns. GFLOP/s count `2 * outputs * taps * c_in / groups`, padding included, as
//! everybody does. Cases of class "memory" are compared with a stream of the same reads and writes.

use std::hint::black_box;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use gridnn::conv::{self, Algorithm, Epilogue, GradOperands, Map, Operands, Pass, Region, Scratch, Sums};
use gridnn::geometry::{ConvGeometry, Padding, PaddingRule, Window};
use gridnn::kernels::{Aligned, Element, Job, Kernels, Tier};

/// Peaks before and after a sample may differ by this much, and so much of its time may go to other programs.
const DRIFT: f64 = 0.03;
const PEAK_TIME: Duration = Duration::from_millis(1);
const PASSES: [&str; 3] = ["fwd", "dx", "dw"];

fn main() -> ExitCode {
    let outcome = Options::parse(std::env::args().skip(1)).and_then(|options| match options.double {
        false => bench::<f32>(&options),
        true => bench::<f64>(&options),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug)]
struct Options {
    names: Vec<String>,
    passes: Vec<usize>,
    tiers: Vec<Tier>,
    double: bool,
    samples: usize,
    sample_time: Duration,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            names: Vec::new(),
            passes: vec![0, 1, 2],
            tiers: vec![Tier::current().map_err(|error| error.to_string())?],
            double: false,
            samples: 20,
            sample_time: Duration::from_millis(10),
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--passes" => {
                    let number = |name| PASSES.iter().position(|p| *p == name);
                    let all: Option<Vec<usize>> = value()?.split(',').map(number).collect();
                    options.passes = all.ok_or_else(|| format!("--passes: a list of {PASSES:?}"))?;
                }
                "--tier" => {
                    options.tiers = match value()?.as_str() {
                        "all" => Tier::available(),
                        name => vec![Tier::named(name).map_err(|error| error.to_string())?],
                    }
                }
                "--type" => {
                    options.double = match value()?.as_str() {
                        "f32" => false,
                        "f64" => true,
                        other => return Err(format!("--type: f32 or f64; received {other}")),
                    }
                }
                "--quick" => (options.samples, options.sample_time) = (7, Duration::from_millis(4)),
                "--bench" => {} // From cargo.
                option if option.starts_with('-') => return Err(format!("unknown option {option}")),
                name => options.names.push(name.to_string()),
            }
        }
        Ok(options)
    }
}

/// A line of `cases.csv`.
#[derive(Debug)]
struct Case {
    name: &'static str,
    class: &'static str,
    batch: usize,
    geometry: ConvGeometry,
}

impl Case {
    fn parse(line: &'static str) -> Option<Self> {
        let fields: Vec<&'static str> = line.split(',').collect();
        let [name, class, rank, batch, size, c_in, c_out, kernel, stride, dilation, padding, groups] =
            fields[..]
        else {
            return None;
        };
        let number = |text: &str| text.parse::<usize>().ok();
        let rank = number(rank)?;
        let all = |text| number(text).map(|n| vec![n; rank]);
        let padding = Padding::Rule(match padding {
            "same" => PaddingRule::Same,
            "valid" => PaddingRule::Valid,
            "causal" => PaddingRule::Causal,
            _ => return None,
        });
        let window = Window { kernel: all(kernel)?, stride: all(stride)?, dilation: all(dilation)?, padding };
        let geometry =
            ConvGeometry::new(&window, &all(size)?, number(c_in)?, number(c_out)?, number(groups)?).ok()?;
        Some(Self { name, class, batch: number(batch)?, geometry })
    }

    /// Percent of the peak that a pass should reach, where that is what counts.
    fn target(&self, pass: usize, algorithm: Algorithm) -> Option<f64> {
        if algorithm == Algorithm::Winograd {
            let targets = match self.name {
                "cifar-3x3-32" => [150.0; 3],
                "vgg-3x3-64" => [210.0; 3],
                "vgg-3x3-128" => [270.0, 270.0, 200.0],
                "vgg-3x3-256" => [230.0, 230.0, 84.0],
                _ => return None,
            };
            return Some(targets[pass]);
        }
        let targets = match self.class {
            "large" => [92.0, 92.0, 84.0],
            "strided" | "mid" => [88.0, 85.0, 80.0],
            "tiny-map" => [80.0, 80.0, 75.0],
            _ => return None,
        };
        Some(targets[pass])
    }
}

/// FLOP/s of the peak loop of a tier.
fn peak<T: Element>(tier: Tier, rounds: usize) -> f64 {
    let kernels = Kernels::<T>::of(tier);
    let start = Instant::now();
    let (flops, sum) = kernels.multiply_adds(black_box(rounds), T::from_f64(1e-7));
    black_box(sum);
    flops as f64 / start.elapsed().as_secs_f64()
}

/// Rounds of the peak loop that take [`PEAK_TIME`].
fn peak_rounds<T: Element>(tier: Tier) -> usize {
    let rounds = 200_000;
    peak::<T>(tier, rounds);
    let start = Instant::now();
    peak::<T>(tier, rounds);
    (rounds as f64 * PEAK_TIME.as_secs_f64() / start.elapsed().as_secs_f64()).ceil() as usize
}

/// Reads two arrays: the traffic of a kernel gradient.
struct Dot<'a, T>(&'a [T], &'a [T]);

impl<T: Element> Job for Dot<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run(self) -> T {
        const LANES: usize = 64;
        let mut sums = [T::ZERO; LANES];
        for (a, b) in self.0.chunks_exact(LANES).zip(self.1.chunks_exact(LANES)) {
            for i in 0..LANES {
                sums[i] = sums[i].add(a[i].mul(b[i]));
            }
        }
        sums.iter().fold(T::ZERO, |sum, x| sum.add(*x))
    }
}

/// Operands of a case.
struct Data<T> {
    x: Aligned<T>,
    kernel: Aligned<T>,
    dy: Aligned<T>,
}

impl<T: Element> Data<T> {
    fn new(case: &Case) -> Self {
        let g = &case.geometry;
        let fill = |len: usize| {
            let mut buffer = Aligned::try_zeroed(len).unwrap();
            for (i, value) in buffer.iter_mut().enumerate() {
                *value =
                    T::from_f64(((i as u64).wrapping_mul(0x9e37_79b9) >> 8 & 0xffff) as f64 / 32_768.0 - 1.0);
            }
            buffer
        };
        Self {
            x: fill(case.batch * g.input_len()),
            kernel: fill(g.kernel_len()),
            dy: fill(case.batch * g.output_len()),
        }
    }
}

/// One pass on one tier by one algorithm, and its samples.
struct Subject {
    pass: usize,
    algorithm: Algorithm,
    tier: Tier,
    rounds: usize,
    /// Calls in a sample.
    calls: u32,
    run: Box<dyn FnMut()>,
    stream: Option<Box<dyn FnMut()>>,
    /// Seconds per call, peak FLOP/s, seconds of the stream.
    samples: Vec<[f64; 3]>,
    dropped: Vec<[f64; 3]>,
}

/// As functional calls decide it.
fn non_temporal<T>(elements: usize) -> bool {
    elements * size_of::<T>() >= 16 << 20
}

fn map<T: Element>(
    plan: Map<T>,
    from_len: usize,
    from: impl Fn(&Data<T>) -> &[T] + 'static,
    data: Rc<Data<T>>,
) -> Box<dyn FnMut()> {
    let mut packed = Aligned::try_zeroed(plan.tiling().weights).unwrap();
    plan.pack(&data.kernel, 0, &mut packed);
    let samples = from(&data).len() / from_len;
    let mut to = Aligned::try_zeroed(samples * plan.tiling().len()).unwrap();
    let mut scratch = Scratch::default();
    let non_temporal = non_temporal::<T>(from(&data).len() + to.len());
    Box::new(move || {
        let operands =
            Operands { from: from(&data), packed: &packed, epilogue: Epilogue::NONE, non_temporal };
        plan.run(operands, &mut to, &Region::Samples(samples), &mut scratch);
        black_box(&mut to);
    })
}

fn pass<T: Element>(
    case: &Case,
    (pass, algorithm): (usize, Algorithm),
    tier: Tier,
    data: &Rc<Data<T>>,
) -> Box<dyn FnMut()> {
    let (g, kernels, data) = (&case.geometry, Kernels::of(tier), Rc::clone(data));
    let (x_len, y_len) = (g.input_len(), g.output_len());
    match pass {
        0 => map(conv::map(Pass::Forward, g, kernels, algorithm), x_len, |data| &data.x, data),
        1 => map(conv::map(Pass::InputGrad, g, kernels, algorithm), y_len, |data| &data.dy, data),
        _ => {
            let plan = conv::kernel_grad(g, kernels, algorithm);
            let mut sums = Aligned::try_zeroed(plan.tiling().weights).unwrap();
            let mut scratch = Scratch::default();
            let non_temporal = non_temporal::<T>(data.x.len() + data.dy.len());
            let samples = Region::Samples(data.x.len() / x_len);
            Box::new(move || {
                sums.fill(T::ZERO);
                let operands = GradOperands { x: &data.x, dy: &data.dy, non_temporal };
                let units = 0..plan.tiling().weight_units();
                let to = Sums { sums: &mut sums, units, from_zero: false };
                plan.accumulate(operands, &samples, to, &mut scratch);
                plan.finish(&mut sums);
                black_box(&mut sums);
            })
        }
    }
}

/// The same reads and writes without arithmetic to speak of.
fn stream<T: Element>(pass: usize, tier: Tier, data: &Rc<Data<T>>) -> Box<dyn FnMut()> {
    let data = Rc::clone(data);
    if pass == 2 {
        return Box::new(move || {
            black_box(tier.vectorize(Dot(&data.x, &data.dy)));
        });
    }
    let mut to = Aligned::try_zeroed(if pass == 0 { data.dy.len() } else { data.x.len() }).unwrap();
    Box::new(move || {
        let from = if pass == 0 { &data.x } else { &data.dy };
        let both = to.len().min(from.len());
        to[..both].copy_from_slice(&from[..both]);
        black_box(&mut to);
    })
}

fn seconds(calls: u32, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        run();
    }
    start.elapsed().as_secs_f64() / f64::from(calls)
}

/// Seconds that this thread was ready to run and another one ran instead, where the system tells.
fn waited() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) * 1e-9
}

impl Subject {
    fn new<T: Element>(
        case: &Case,
        (number, algorithm): (usize, Algorithm),
        tier: Tier,
        data: &Rc<Data<T>>,
        options: &Options,
    ) -> Self {
        let mut run = pass(case, (number, algorithm), tier, data);
        run();
        let once = seconds(1, &mut run);
        let calls = (options.sample_time.as_secs_f64() / once).ceil().clamp(1.0, 1e6) as u32;
        let stream = (case.class == "memory").then(|| stream(number, tier, data));
        Self {
            pass: number,
            algorithm,
            tier,
            rounds: peak_rounds::<T>(tier),
            calls,
            run,
            stream,
            samples: Vec::new(),
            dropped: Vec::new(),
        }
    }

    fn sample<T: Element>(&mut self) {
        (self.run)();
        let waited = waited();
        let before = peak::<T>(self.tier, self.rounds);
        let time = seconds(self.calls, &mut self.run);
        let after = peak::<T>(self.tier, self.rounds);
        let stream = self.stream.as_mut().map_or(0.0, |stream| {
            stream();
            seconds(self.calls, stream)
        });
        let waited = self::waited() - waited;
        let lost = waited > DRIFT * time * f64::from(self.calls);
        let drifted = (before - after).abs() > DRIFT * before.min(after);
        let samples = if lost || drifted { &mut self.dropped } else { &mut self.samples };
        samples.push([time, f64::midpoint(before, after), stream]);
    }

    fn line<T: Element>(&self, case: &Case) -> String {
        let g = &case.geometry;
        // Rather a doubtful figure that says so than none.
        let busy = self.samples.is_empty();
        let samples = if busy { &self.dropped } else { &self.samples };
        let flops = (2 * case.batch * g.macs()) as f64;
        let time = median(samples.iter().map(|s| s[0]));
        let percent = median(samples.iter().map(|s| 100.0 * flops / s[0] / s[1]));
        let peak = median(samples.iter().map(|s| s[1]));
        let mut line =
            format!("{:10.3} {:8.1} {:7.1} {percent:6.1}", time * 1e3, flops / time / 1e9, peak / 1e9);
        if let Some(target) = case.target(self.pass, self.algorithm) {
            let verdict = if percent >= target { "" } else { " missed" };
            line += &format!("   target {target:.0}{verdict}");
        }
        if self.stream.is_some() {
            let bytes = case.batch * (g.input_len() + g.output_len()) * size_of::<T>();
            let of_stream = median(samples.iter().map(|s| 100.0 * s[2] / s[0]));
            let verdict = if of_stream >= 85.0 { "" } else { " missed" };
            line += &format!(
                "   {:.1} GB/s, {of_stream:.0} % of a stream, target 85{verdict}",
                bytes as f64 / time / 1e9
            );
        }
        if busy {
            line += "   DOUBTFUL: the machine was busy in every sample";
        } else if !self.dropped.is_empty() {
            line += &format!("   ({} dropped)", self.dropped.len());
        }
        line
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

fn bench<T: Element>(options: &Options) -> Result<(), String> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("gridnn {}, {}, one thread, load {}", env!("CARGO_PKG_VERSION"), T::NAME, load.trim());
    println!(
        "{:<24} {:<4} {:<8} {:>10} {:>8} {:>7} {:>6}",
        "case", "pass", "tier", "ms", "GFLOP/s", "peak", "%"
    );
    let lines = include_str!("cases.csv").lines().skip(1);
    for line in lines {
        let case = Case::parse(line).ok_or_else(|| format!("cases.csv: cannot read {line:?}"))?;
        if !options.names.is_empty() && !options.names.iter().any(|name| case.name.contains(name.as_str())) {
            continue;
        }
        let data = Rc::new(Data::<T>::new(&case));
        let mut algorithms = vec![Algorithm::Direct];
        if conv::applies::<T>(&case.geometry, Algorithm::Winograd) {
            algorithms.push(Algorithm::Winograd);
        }
        let mut subjects = Vec::new();
        for &pass in &options.passes {
            for &algorithm in &algorithms {
                for &tier in &options.tiers {
                    subjects.push(Subject::new(&case, (pass, algorithm), tier, &data, options));
                }
            }
        }
        // Bounded, or a busy machine would keep it here for ever.
        for _ in 0..3 * options.samples {
            for subject in subjects.iter_mut().filter(|s| s.samples.len() < options.samples) {
                subject.sample::<T>();
            }
        }
        for subject in &subjects {
            let (pass, tier) = (PASSES[subject.pass], subject.tier.name());
            let mut name = case.name.to_string();
            if subject.algorithm != Algorithm::Direct {
                name = format!("{name}/{}", subject.algorithm.name());
            }
            println!("{name:<24} {pass:<4} {tier:<8} {}", subject.line::<T>(&case));
        }
    }
    Ok(())
}
