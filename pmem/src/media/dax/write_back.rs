//! Writing cache lines back to memory, by the best instruction that the CPU has.

/// How a line is written back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteBack {
    /// `clwb`: the line may stay in the cache.
    Keep,
    /// `clflushopt`: the line leaves the cache.
    Evict,
    /// `clflush`: the line leaves the cache, one after the other.
    EvictInOrder,
}

#[cfg(target_arch = "x86_64")]
impl WriteBack {
    const LINE_BYTES: usize = 64;

    /// The best one.
    pub(super) fn of_this_cpu() -> Result<WriteBack, &'static str> {
        WriteBack::all_of_this_cpu().into_iter().next().ok_or("the CPU cannot write cache lines back")
    }

    /// Those that the CPU has, best first.
    pub(super) fn all_of_this_cpu() -> Vec<WriteBack> {
        // Structured extended features (Intel SDM, CPUID leaf 7): EBX bit 24 is CLWB, bit 23 CLFLUSHOPT. Every CPU with
        // 64 bits has CLFLUSH.
        const LEAF: u32 = 7;
        #[expect(unused_unsafe, reason = "the call is safe in later compilers")]
        // SAFETY: every CPU with 64 bits has CPUID, and leaves that it lacks are not asked for.
        let features = unsafe {
            use std::arch::x86_64::{__cpuid, __cpuid_count};
            if __cpuid(0).eax < LEAF { 0 } else { __cpuid_count(LEAF, 0).ebx }
        };
        let has = |bit: u32| features >> bit & 1 == 1;
        let all = [(WriteBack::Keep, has(24)), (WriteBack::Evict, has(23)), (WriteBack::EvictInOrder, true)];
        all.into_iter().filter(|(_, has)| *has).map(|(way, _)| way).collect()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            WriteBack::Keep => "clwb",
            WriteBack::Evict => "clflushopt",
            WriteBack::EvictInOrder => "clflush",
        }
    }

    /// Begins to write back the lines of `len` bytes from `start` on; [`fence`] waits for them.
    ///
    /// # Safety
    /// The bytes are mapped, and the CPU has the instruction.
    pub(super) unsafe fn lines(self, start: *const u8, len: usize) {
        use std::arch::asm;
        let mut line = start.wrapping_sub(start as usize % WriteBack::LINE_BYTES);
        while line < start.wrapping_add(len) {
            // SAFETY: the line holds a byte that is mapped; the instructions change no byte, register or flag.
            unsafe {
                match self {
                    WriteBack::Keep => asm!("clwb [{}]", in(reg) line, options(nostack, preserves_flags)),
                    WriteBack::Evict => {
                        asm!("clflushopt [{}]", in(reg) line, options(nostack, preserves_flags))
                    }
                    WriteBack::EvictInOrder => std::arch::x86_64::_mm_clflush(line),
                }
            }
            line = line.wrapping_add(WriteBack::LINE_BYTES);
        }
    }
}

/// Waits for all lines that this thread has begun to write back.
#[cfg(target_arch = "x86_64")]
pub(super) fn fence() {
    // SAFETY: every CPU with 64 bits has SSE.
    unsafe { std::arch::x86_64::_mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
impl WriteBack {
    pub(super) fn of_this_cpu() -> Result<WriteBack, &'static str> {
        Err("writing cache lines back is only known for x86-64")
    }

    pub(super) fn all_of_this_cpu() -> Vec<WriteBack> {
        Vec::new()
    }

    pub(super) fn name(self) -> &'static str {
        "none"
    }

    /// # Safety
    /// None: nothing can be mapped here.
    pub(super) unsafe fn lines(self, _start: *const u8, _len: usize) {}
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn fence() {}
