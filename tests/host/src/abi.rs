//! The functions that the module imports: proxy-wasm 0.2.1 and the part of WASI that Envoy has.

use wasmi::{Caller, Extern, Func, Linker, Memory, TypedFunc, Val};

use crate::Headers;
use crate::proxy::{Callout, Deferred, Proxy, status};

type Guest<'a> = Caller<'a, Proxy>;

fn memory(caller: &Guest<'_>) -> Memory {
    caller.get_export("memory").and_then(Extern::into_memory).expect("the module exports its memory")
}

fn read(caller: &Guest<'_>, at: i32, length: i32) -> Vec<u8> {
    let mut bytes = vec![0; length as u32 as usize];
    memory(caller).read(caller, at as u32 as usize, &mut bytes).expect("the module passes a range within its memory");
    bytes
}

fn text(caller: &Guest<'_>, at: i32, length: i32) -> String {
    String::from_utf8_lossy(&read(caller, at, length)).into_owned()
}

fn write(caller: &mut Guest<'_>, at: i32, bytes: &[u8]) {
    memory(caller).write(caller, at as u32 as usize, bytes).expect("the module passes an address within its memory");
}

/// Hands bytes over in memory that the module allocates.
fn give(caller: &mut Guest<'_>, bytes: &[u8], at: i32, length_at: i32) -> i32 {
    let mut address = 0;
    if !bytes.is_empty() {
        let allocate: TypedFunc<i32, i32> = caller
            .get_export("proxy_on_memory_allocate")
            .and_then(Extern::into_func)
            .and_then(|function| function.typed(&*caller).ok())
            .expect("the module exports its allocator");
        address = allocate.call(&mut *caller, bytes.len() as i32).expect("the module can allocate");
        write(caller, address, bytes);
    }
    write(caller, at, &address.to_le_bytes());
    write(caller, length_at, &(bytes.len() as i32).to_le_bytes());
    status::OK
}

/// Reads a map as the ABI lays it out: count, lengths, then names and values, each with a zero behind.
fn read_map(bytes: &[u8]) -> Headers {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    if bytes.is_empty() {
        return Headers::new();
    }
    let count = number(0);
    let mut at = 4 + count * 8;
    (0..count)
        .map(|index| {
            let (name, value) = (number(4 + index * 8), number(8 + index * 8));
            let pair = (
                String::from_utf8_lossy(&bytes[at..at + name]).into_owned(),
                bytes[at + name + 1..at + name + 1 + value].to_vec(),
            );
            at += name + value + 2;
            pair
        })
        .collect()
}

pub(crate) fn define(linker: &mut Linker<Proxy>, module: &wasmi::Module) -> Result<(), wasmi::Error> {
    define_general(linker)?;
    define_streams(linker)?;
    define_wasi(linker)?;
    // What the SDK imports and the glue never calls. A second definition of a name is refused: those are emulated.
    for import in module.imports() {
        let wasmi::ExternType::Func(kind) = import.ty() else { continue };
        let name = import.name().to_owned();
        let _ = linker.func_new(import.module(), import.name(), kind.clone(), move |_: Guest<'_>, _: &[Val], _: &mut [Val]| {
            Err(wasmi::Error::new(format!("{name} is not emulated: the glue has no business with it")))
        });
    }
    Ok(())
}

/// A map as the ABI lays it out: its size, the lengths of each name and value, then names and values, each with a zero behind.
fn pairs(headers: &crate::Headers) -> Vec<u8> {
    let mut bytes = (headers.len() as u32).to_le_bytes().to_vec();
    for (name, value) in headers {
        bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
    }
    for (name, value) in headers {
        bytes.extend_from_slice(&[name.as_bytes(), b"\0", value, b"\0"].concat());
    }
    bytes
}

fn define_general(linker: &mut Linker<Proxy>) -> Result<(), wasmi::Error> {
    linker.func_wrap("env", "proxy_log", |mut caller: Guest<'_>, level: i32, at: i32, length: i32| {
        let line = text(&caller, at, length);
        caller.data_mut().logs.push((level, line));
        status::OK
    })?;
    linker.func_wrap("env", "proxy_get_log_level", |mut caller: Guest<'_>, at: i32| {
        write(&mut caller, at, &2_i32.to_le_bytes());
        status::OK
    })?;
    linker.func_wrap("env", "proxy_get_current_time_nanoseconds", |mut caller: Guest<'_>, at: i32| {
        let now = caller.data().now_ns;
        write(&mut caller, at, &now.to_le_bytes());
        status::OK
    })?;
    linker.func_wrap("env", "proxy_set_tick_period_milliseconds", |mut caller: Guest<'_>, period: i32| {
        caller.data_mut().tick_period = period as u32;
        status::OK
    })?;
    linker.func_wrap("env", "proxy_set_effective_context", |mut caller: Guest<'_>, id: i32| {
        let id = id as u32;
        let proxy = caller.data_mut();
        if proxy.streams.get(&id).is_some_and(|stream| !stream.gone) || proxy.roots.contains(&id) {
            proxy.effective = id;
            return status::OK;
        }
        status::BAD_ARGUMENT
    })?;
    linker.func_wrap("env", "proxy_done", |mut caller: Guest<'_>| {
        let proxy = caller.data_mut();
        let id = proxy.effective;
        proxy.done.insert(id);
        status::OK
    })?;
    linker.func_wrap("env", "proxy_define_metric", |mut caller: Guest<'_>, _: i32, at: i32, length: i32, id_at: i32| {
        let name = text(&caller, at, length);
        let metrics = &mut caller.data_mut().metrics;
        metrics.push((name, 0));
        let id = metrics.len() as u32 - 1;
        write(&mut caller, id_at, &id.to_le_bytes());
        status::OK
    })?;
    linker.func_wrap("env", "proxy_increment_metric", |mut caller: Guest<'_>, id: i32, by: i64| {
        let Some((_, value)) = caller.data_mut().metrics.get_mut(id as usize) else { return status::NOT_FOUND };
        *value += by as u64;
        status::OK
    })?;
    linker.func_wrap("env", "proxy_record_metric", |mut caller: Guest<'_>, id: i32, recorded: i64| {
        let Some((_, value)) = caller.data_mut().metrics.get_mut(id as usize) else { return status::NOT_FOUND };
        *value = recorded as u64;
        status::OK
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |mut caller: Guest<'_>, at: i32, length: i32, value_at: i32, value_length: i32| {
            let path = text(&caller, at, length);
            let Some(stream) = caller.data_mut().stream() else { return status::NOT_FOUND };
            let value = match path.as_str() {
                "response\0code_details" => stream.details.clone().into_bytes(),
                "request\0total_size" => stream.received.to_le_bytes().to_vec(),
                _ => match caller.data().properties.get(&path) {
                    Some(value) => value.clone(),
                    None => return status::NOT_FOUND,
                },
            };
            give(&mut caller, &value, value_at, value_length)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_property",
        |mut caller: Guest<'_>, at: i32, length: i32, value_at: i32, value_length: i32| {
            let (path, value) = (text(&caller, at, length), text(&caller, value_at, value_length));
            let Some(stream) = caller.data_mut().stream() else { return status::NOT_FOUND };
            stream.filter_state.insert(path, value);
            status::OK
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut caller: Guest<'_>, at: i32, length: i32, value_at: i32, value_length: i32, version_at: i32| {
            let key = text(&caller, at, length);
            let Some((value, version)) = caller.data().shared_data.get(&key) else { return status::NOT_FOUND };
            write(&mut caller, version_at, &version.to_le_bytes());
            give(&mut caller, &value, value_at, value_length)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |caller: Guest<'_>, at: i32, length: i32, value_at: i32, value_length: i32, version: i32| {
            let (key, value) = (text(&caller, at, length), read(&caller, value_at, value_length));
            caller.data().shared_data.set(&key, &value, version as u32)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |mut caller: Guest<'_>,
         cluster_at: i32,
         cluster_length: i32,
         headers_at: i32,
         headers_length: i32,
         body_at: i32,
         body_length: i32,
         _: i32,
         _: i32,
         timeout: i32,
         token_at: i32| {
            let cluster = text(&caller, cluster_at, cluster_length);
            let headers = read_map(&read(&caller, headers_at, headers_length));
            let body = read(&caller, body_at, body_length);
            let proxy = caller.data_mut();
            proxy.next_token += 1;
            let token = proxy.next_token;
            let callout = Callout { token, cluster, headers, body, timeout: timeout as u32 };
            if proxy.unreachable.contains(&callout.cluster) || (proxy.refused.0)(&callout) {
                proxy.refused_callouts.push(callout);
                return status::INTERNAL_FAILURE;
            }
            proxy.callouts.push_back(callout);
            write(&mut caller, token_at, &token.to_le_bytes());
            status::OK
        },
    )?;
    Ok(())
}

fn define_streams(linker: &mut Linker<Proxy>) -> Result<(), wasmi::Error> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |mut caller: Guest<'_>, kind: i32, at: i32, length: i32, value_at: i32, value_length: i32| {
            let name = text(&caller, at, length);
            let Some(headers) = caller.data_mut().headers(kind, false) else { return status::BAD_ARGUMENT };
            let Some(value) = crate::proxy::find(headers, &name).map(<[u8]>::to_vec) else { return status::NOT_FOUND };
            give(&mut caller, &value, value_at, value_length)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |mut caller: Guest<'_>, kind: i32, value_at: i32, value_length: i32| {
            let Some(headers) = caller.data_mut().headers(kind, false) else { return status::BAD_ARGUMENT };
            let pairs = pairs(headers);
            give(&mut caller, &pairs, value_at, value_length)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_replace_header_map_value",
        |mut caller: Guest<'_>, kind: i32, at: i32, length: i32, value_at: i32, value_length: i32| {
            let (name, value) = (text(&caller, at, length), read(&caller, value_at, value_length));
            let Some(headers) = caller.data_mut().headers(kind, true) else { return status::BAD_ARGUMENT };
            headers.retain(|(known, _)| *known != name);
            headers.push((name, value));
            status::OK
        },
    )?;
    linker.func_wrap("env", "proxy_remove_header_map_value", |mut caller: Guest<'_>, kind: i32, at: i32, length: i32| {
        let name = text(&caller, at, length);
        let Some(headers) = caller.data_mut().headers(kind, true) else { return status::BAD_ARGUMENT };
        headers.retain(|(known, _)| *known != name);
        status::OK
    })?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut caller: Guest<'_>, kind: i32, start: i32, length: i32, at: i32, length_at: i32| {
            let (start, length) = (start as u32 as usize, length as u32 as usize);
            let Some(buffer) = caller.data_mut().buffer(kind) else { return status::NOT_FOUND };
            let end = start.saturating_add(length).min(buffer.len());
            let bytes = buffer.get(start.min(end)..end).unwrap_or_default().to_vec();
            give(&mut caller, &bytes, at, length_at)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_buffer_bytes",
        |mut caller: Guest<'_>, kind: i32, start: i32, size: i32, at: i32, length: i32| {
            let value = read(&caller, at, length);
            caller.data_mut().set_buffer(kind, start as u32 as usize, size as u32 as usize, &value)
        },
    )?;
    linker.func_wrap("env", "proxy_continue_stream", |mut caller: Guest<'_>, kind: i32| {
        let proxy = caller.data_mut();
        let id = proxy.effective;
        match kind {
            0 => proxy.deferred.push(Deferred::ResumeRequest(id)),
            1 => proxy.deferred.push(Deferred::ResumeResponse(id)),
            _ => return status::BAD_ARGUMENT,
        }
        status::OK
    })?;
    linker.func_wrap("env", "proxy_close_stream", |mut caller: Guest<'_>, _: i32| {
        let proxy = caller.data_mut();
        let id = proxy.effective;
        proxy.deferred.push(Deferred::Reset(id));
        status::OK
    })?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |mut caller: Guest<'_>,
         code: i32,
         _: i32,
         _: i32,
         body_at: i32,
         body_length: i32,
         headers_at: i32,
         headers_length: i32,
         _: i32| {
            let body = read(&caller, body_at, body_length);
            let headers = read_map(&read(&caller, headers_at, headers_length));
            let proxy = caller.data_mut();
            let stream = proxy.effective;
            proxy.deferred.push(Deferred::Reply { stream, status: code as u16, headers, body });
            status::OK
        },
    )?;
    Ok(())
}

fn define_wasi(linker: &mut Linker<Proxy>) -> Result<(), wasmi::Error> {
    const WASI: &str = "wasi_snapshot_preview1";
    linker.func_wrap(WASI, "random_get", |mut caller: Guest<'_>, at: i32, length: i32| {
        let mut bytes = Vec::new();
        let proxy = caller.data_mut();
        while bytes.len() < length as usize {
            // xorshift64: different each time, and the same in each run.
            proxy.random ^= proxy.random << 13;
            proxy.random ^= proxy.random >> 7;
            proxy.random ^= proxy.random << 17;
            bytes.extend_from_slice(&proxy.random.to_le_bytes());
        }
        bytes.truncate(length as usize);
        write(&mut caller, at, &bytes);
        0
    })?;
    linker.func_wrap(WASI, "environ_sizes_get", |mut caller: Guest<'_>, count_at: i32, size_at: i32| {
        let environment = &caller.data().environment;
        let size: usize = environment.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let count = environment.len();
        write(&mut caller, count_at, &(count as u32).to_le_bytes());
        write(&mut caller, size_at, &(size as u32).to_le_bytes());
        0
    })?;
    linker.func_wrap(WASI, "environ_get", |mut caller: Guest<'_>, list_at: i32, mut at: i32| {
        for (index, (name, value)) in caller.data().environment.clone().iter().enumerate() {
            let entry = format!("{name}={value}\0");
            write(&mut caller, list_at + 4 * index as i32, &at.to_le_bytes());
            write(&mut caller, at, entry.as_bytes());
            at += entry.len() as i32;
        }
        0
    })?;
    linker.func_wrap(WASI, "fd_write", |mut caller: Guest<'_>, _: i32, _: i32, _: i32, written_at: i32| {
        write(&mut caller, written_at, &0_i32.to_le_bytes());
        0
    })?;
    linker.func_wrap(WASI, "proc_exit", |_: Guest<'_>, code: i32| -> Result<(), wasmi::Error> {
        Err(wasmi::Error::i32_exit(code))
    })?;
    linker.func_wrap(WASI, "clock_time_get", |mut caller: Guest<'_>, _: i32, _: i64, at: i32| {
        let now = caller.data().now_ns;
        write(&mut caller, at, &now.to_le_bytes());
        0
    })?;
    Ok(())
}

/// The function of that name.
pub(crate) fn export(instance: &wasmi::Instance, store: &wasmi::Store<Proxy>, name: &str) -> Func {
    instance.get_func(store, name).unwrap_or_else(|| panic!("the module does not export {name}"))
}
