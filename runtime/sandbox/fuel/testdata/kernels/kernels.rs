//! The loop kernels of kernels.c in Rust, written as one writes them in Rust.

use std::ptr::addr_of_mut;

static mut DATA: [u8; 1 << 16] = [0; 1 << 16];
static mut WORDS: [u32; 1 << 14] = [0; 1 << 14];
static mut A: [[f32; 64]; 64] = [[0.0; 64]; 64];
static mut B: [[f32; 64]; 64] = [[0.0; 64]; 64];
static mut C: [[f32; 64]; 64] = [[0.0; 64]; 64];

// There is one thread, and each export takes each of them once.
fn data() -> &'static mut [u8; 1 << 16] {
    unsafe { &mut *addr_of_mut!(DATA) }
}

fn words() -> &'static mut [u32; 1 << 14] {
    unsafe { &mut *addr_of_mut!(WORDS) }
}

#[no_mangle]
pub extern "C" fn sum(n: u32) -> u32 {
    let words = words();
    (0..n).fold(0u32, |s, k| words.iter().fold(s, |s, w| s.wrapping_add(w ^ k)))
}

#[no_mangle]
pub extern "C" fn fnv(n: u32) -> u32 {
    let data = data();
    let mut h = 2166136261u32;
    for _ in 0..n {
        for x in &data[..1 << 14] {
            h = (h ^ *x as u32).wrapping_mul(16777619);
        }
    }
    h
}

#[no_mangle]
pub extern "C" fn sieve(n: u32) -> u32 {
    let data = data();
    let mut count = 0;
    for _ in 0..n {
        data.fill(1);
        let mut i = 2;
        while i * i < data.len() {
            if data[i] != 0 {
                for j in (i * i..data.len()).step_by(i) {
                    data[j] = 0;
                }
            }
            i += 1;
        }
        count += data[2..].iter().map(|&x| x as u32).sum::<u32>();
    }
    count
}

#[no_mangle]
pub extern "C" fn matrix(n: u32) -> u32 {
    let (a, b, c) = unsafe { (&mut *addr_of_mut!(A), &mut *addr_of_mut!(B), &mut *addr_of_mut!(C)) };
    for i in 0..64 {
        for j in 0..64 {
            a[i][j] = (i + j) as f32;
            b[i][j] = i as f32 - j as f32;
        }
    }
    for k in 0..n {
        for i in 0..64 {
            for j in 0..64 {
                let s: f32 = (0..64).map(|l| a[i][l] * b[l][j]).sum();
                c[i][j] = s + k as f32;
            }
        }
    }
    c[17][42] as i32 as u32
}

#[no_mangle]
pub extern "C" fn crc(n: u32) -> u32 {
    let data = data();
    let mut r = !0u32;
    for _ in 0..n {
        for x in &data[..1 << 12] {
            r ^= *x as u32;
            for _ in 0..8 {
                r = r >> 1 ^ if r & 1 != 0 { 0xedb88320 } else { 0 };
            }
        }
    }
    !r
}

fn insertion_sort(w: &mut [u32]) {
    for i in 1..w.len() {
        let v = w[i];
        let mut j = i;
        while j > 0 && w[j - 1] > v {
            w[j] = w[j - 1];
            j -= 1;
        }
        w[j] = v;
    }
}

#[no_mangle]
pub extern "C" fn sort(n: u32) -> u32 {
    let w = &mut words()[..1 << 10];
    let mut x = 1u32;
    for _ in 0..n {
        for word in w.iter_mut() {
            x = x.wrapping_mul(1664525).wrapping_add(1013904223);
            *word = x;
        }
        insertion_sort(w);
    }
    w[511]
}

#[no_mangle]
pub extern "C" fn collatz(n: u32) -> u32 {
    let mut steps = 0;
    for i in 1..n as u64 {
        let mut x = i;
        while x != 1 {
            x = if x & 1 != 0 { 3 * x + 1 } else { x / 2 };
            steps += 1;
        }
    }
    steps
}

/// Like a scanner of JSON: a branch or two for each byte.
#[no_mangle]
pub extern "C" fn scan(n: u32) -> u32 {
    let data = data();
    for (i, x) in data.iter_mut().enumerate() {
        *x = ((i as u32).wrapping_mul(2654435761) >> 25) as u8;
    }
    let (mut strings, mut depth, mut deepest) = (0u32, 0u32, 0u32);
    for _ in 0..n {
        let mut bytes = data.iter();
        let mut inside = false;
        while let Some(ch) = bytes.next() {
            match (inside, *ch) {
                (true, b'"') => inside = false,
                (true, b'\\') => drop(bytes.next()),
                (true, _) => {}
                (false, b'"') => {
                    inside = true;
                    strings += 1;
                }
                (false, b'{' | b'[') => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                (false, b'}' | b']') => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    strings + deepest
}

#[inline(never)]
fn fibonacci(n: u32) -> u32 {
    if n < 2 {
        n
    } else {
        fibonacci(n - 1) + fibonacci(n - 2)
    }
}

#[no_mangle]
pub extern "C" fn calls(n: u32) -> u32 {
    fibonacci(n)
}

/// Copies as a program does them: mostly short.
#[export_name = "copy"]
pub extern "C" fn copies(n: u32) -> u32 {
    let (low, high) = data().split_at_mut(0x8000);
    let mut s = 0u32;
    for k in 0..n {
        let len = (k.wrapping_mul(2654435761) >> 26) as usize;
        let (to, from) = (k as usize & 0x3fff, k as usize & 0xfff);
        low[to..to + len].copy_from_slice(&high[from..from + len]);
        s = s.wrapping_add(low[to] as u32);
    }
    s
}

#[inline(never)]
fn rare(x: u32) -> u32 {
    x.wrapping_mul(2654435761) ^ x >> 15
}

/// Inner loops as in sort, in a function that calls another now and then.
#[no_mangle]
pub extern "C" fn visit(n: u32) -> u32 {
    let w = &mut words()[..1 << 10];
    let mut x = 1u32;
    for _ in 0..n {
        for i in 0..w.len() {
            x = rare(x.wrapping_add(i as u32));
            w[i] = x;
        }
        for i in 1..w.len() {
            let v = w[i];
            let mut j = i;
            while j > 0 && w[j - 1] > v {
                w[j] = w[j - 1];
                j -= 1;
            }
            w[j] = v;
        }
    }
    w[511]
}
