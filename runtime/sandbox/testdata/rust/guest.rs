//! A guest in Rust with its standard library: it replies "Rust" to every event,
//! prints, and keeps a map, whose hasher asks for random numbers.

use std::collections::HashMap;

#[link(wasm_import_module = "weft")]
extern "C" {
    fn reply(ptr: *const u8, len: usize) -> i32;
}

static mut BUFFER: Vec<u8> = Vec::new();
static mut SEEN: Option<HashMap<usize, u32>> = None;

#[no_mangle]
pub extern "C" fn weft_abi_1() {}

#[no_mangle]
pub unsafe extern "C" fn weft_buffer(len: usize) -> *mut u8 {
    BUFFER.resize(len, 0);
    BUFFER.as_mut_ptr()
}

#[no_mangle]
pub unsafe extern "C" fn weft_start() -> i32 {
    SEEN = Some(HashMap::new());
    0
}

#[no_mangle]
pub unsafe extern "C" fn weft_handle(_ptr: *const u8, len: usize) -> i32 {
    let seen = SEEN.as_mut().unwrap();
    *seen.entry(len).or_insert(0) += 1;
    println!("from Rust: {} lengths", seen.len());
    let text = [0x0a, 6, 0x0a, 4, b'R', b'u', b's', b't'];
    if reply(text.as_ptr(), text.len()) == 0 {
        1
    } else {
        2
    }
}
