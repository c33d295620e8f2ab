//! A function's view of its Lua stack, and how functions of Rust become functions of Lua.

use crate::context::Context;
use mlua_sys as ffi;
use std::ffi::{CStr, c_int, c_void};

/// A function that scripts call: it says how many of the topmost values are its results.
pub(crate) type Function = fn(&Frame) -> Result<c_int, Raise>;

/// How a function ends that has no results.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Raise {
    /// With this text, behind the place in the script.
    Text(&'static CStr),
    /// About the argument with this number.
    Argument(c_int, &'static CStr),
    /// The same, with the topmost string.
    ArgumentTop(c_int),
    /// The argument with this number is of another type.
    Type(c_int, &'static CStr),
    /// With the topmost string behind the place in the script.
    Top,
    /// With the topmost value.
    Value,
    /// The script was stopped.
    Stopped,
}

/// A type of Lua.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    None,
    Nil,
    Boolean,
    Number,
    String,
    Table,
    Function,
    /// Userdata, coroutines.
    Other,
}

/// The stack of a function that runs.
pub(crate) struct Frame {
    state: *mut ffi::lua_State,
}

// All of these hand a state that is alive to Lua: a frame is made of the state that calls the function, or of one that the
// interpreter has. Places on the stack are those that the functions here have made sure of.
impl Frame {
    /// # Safety
    /// The state is alive as long as the frame is, and what may raise is called by way of Lua, protected.
    pub(crate) unsafe fn new(state: *mut ffi::lua_State) -> Frame {
        Frame { state }
    }

    pub(crate) fn state(&self) -> *mut ffi::lua_State {
        self.state
    }

    pub(crate) fn context<'c>(&self) -> &'c Context {
        Context::of(self.state)
    }

    /// Number of values: at the start those of the arguments.
    pub(crate) fn top(&self) -> c_int {
        // SAFETY: see above.
        unsafe { ffi::lua_gettop(self.state) }
    }

    pub(crate) fn set_top(&self, top: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_settop(self.state, top) }
    }

    pub(crate) fn pop(&self, count: c_int) {
        self.set_top(-count - 1);
    }

    /// Makes sure of room for so many values more. False: there is none.
    pub(crate) fn has_room(&self, count: c_int) -> bool {
        // SAFETY: see above.
        unsafe { ffi::lua_checkstack(self.state, count) != 0 }
    }

    pub(crate) fn kind(&self, at: c_int) -> Kind {
        // SAFETY: see above.
        match unsafe { ffi::lua_type(self.state, at) } {
            ffi::LUA_TNONE => Kind::None,
            ffi::LUA_TNIL => Kind::Nil,
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::String,
            ffi::LUA_TTABLE => Kind::Table,
            ffi::LUA_TFUNCTION => Kind::Function,
            _ => Kind::Other,
        }
    }

    /// A boolean, or whether there is something else than nil.
    pub(crate) fn is_true(&self, at: c_int) -> bool {
        // SAFETY: see above.
        unsafe { ffi::lua_toboolean(self.state, at) != 0 }
    }

    /// A number, or a string that is one; else 0.
    pub(crate) fn number(&self, at: c_int) -> f64 {
        // SAFETY: see above.
        unsafe { ffi::lua_tonumber(self.state, at) }
    }

    pub(crate) fn is_number(&self, at: c_int) -> bool {
        // SAFETY: see above.
        unsafe { ffi::lua_isnumber(self.state, at) != 0 }
    }

    /// The bytes of a string; a number becomes one, where it lies. They are there as long as the value is on the stack.
    pub(crate) fn bytes<'f>(&self, at: c_int) -> Option<&'f [u8]> {
        let mut len = 0;
        // SAFETY: see above. Lua's strings do not move, and callers use the bytes no longer than their values lie on the stack.
        unsafe {
            let start = ffi::lua_tolstring(self.state, at, &mut len);
            (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast(), len))
        }
    }

    /// As [`Frame::bytes`], of an argument that has to be some.
    pub(crate) fn check_bytes<'f>(&self, at: c_int) -> Result<&'f [u8], Raise> {
        self.bytes(at).ok_or(Raise::Type(at, c"string"))
    }

    /// As [`Frame::bytes`], of a string that is there, up to its first zero.
    pub(crate) fn c_text<'f>(&self, at: c_int) -> &'f CStr {
        // SAFETY: see `bytes`. Behind a string there is a zero.
        unsafe {
            let start = ffi::lua_tolstring(self.state, at, std::ptr::null_mut());
            if start.is_null() { c"" } else { CStr::from_ptr(start) }
        }
    }

    pub(crate) fn check_number(&self, at: c_int) -> Result<f64, Raise> {
        if self.is_number(at) { Ok(self.number(at)) } else { Err(Raise::Type(at, c"number")) }
    }

    /// A whole number: what is behind the point is cut off.
    pub(crate) fn check_integer(&self, at: c_int) -> Result<i64, Raise> {
        Ok(self.check_number(at)? as i64)
    }

    pub(crate) fn integer_or(&self, at: c_int, default: i64) -> Result<i64, Raise> {
        match self.kind(at) {
            Kind::None | Kind::Nil => Ok(default),
            _ => self.check_integer(at),
        }
    }

    pub(crate) fn check_table(&self, at: c_int) -> Result<(), Raise> {
        if self.kind(at) == Kind::Table { Ok(()) } else { Err(Raise::Type(at, c"table")) }
    }

    /// Length of a string, or of a table's sequence.
    pub(crate) fn len(&self, at: c_int) -> usize {
        // SAFETY: see above.
        unsafe { ffi::lua_objlen(self.state, at) }
    }

    pub(crate) fn push_nil(&self) {
        // SAFETY: see above.
        unsafe { ffi::lua_pushnil(self.state) }
    }

    pub(crate) fn push_boolean(&self, is_true: bool) {
        // SAFETY: see above.
        unsafe { ffi::lua_pushboolean(self.state, is_true.into()) }
    }

    pub(crate) fn push_number(&self, number: f64) {
        // SAFETY: see above.
        unsafe { ffi::lua_pushnumber(self.state, number) }
    }

    pub(crate) fn push_bytes(&self, bytes: &[u8]) {
        // SAFETY: see above; Lua copies the bytes.
        unsafe { ffi::lua_pushlstring_(self.state, bytes.as_ptr().cast(), bytes.len()) }
    }

    pub(crate) fn push_value(&self, at: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_pushvalue(self.state, at) }
    }

    pub(crate) fn push_table(&self) {
        // SAFETY: see above.
        unsafe { ffi::lua_createtable(self.state, 0, 0) }
    }

    pub(crate) fn push_function(&self, function: Function) {
        self.push_closure(function, 0);
    }

    /// Pushes a function that keeps the `count` topmost values, and takes them away: see [`Frame::upvalue`].
    pub(crate) fn push_closure(&self, function: Function, count: c_int) {
        // SAFETY: see above. The first upvalue is what `enter` expects.
        unsafe {
            ffi::lua_pushlightuserdata(self.state, function as *mut c_void);
            ffi::lua_insert(self.state, -count - 1);
            ffi::lua_pushcclosure(self.state, enter, count + 1);
        }
    }

    /// The place of a value that the function keeps, from 0.
    pub(crate) fn upvalue(number: c_int) -> c_int {
        ffi::lua_upvalueindex(number + 2)
    }

    pub(crate) fn insert(&self, at: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_insert(self.state, at) }
    }

    pub(crate) fn remove(&self, at: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_remove(self.state, at) }
    }

    pub(crate) fn replace(&self, at: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_replace(self.state, at) }
    }

    /// Puts the value of the topmost key in its place. Asks no metatable.
    pub(crate) fn raw_get(&self, table: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_rawget_(self.state, table) }
    }

    pub(crate) fn raw_get_at(&self, table: c_int, index: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_rawgeti_(self.state, table, index) }
    }

    /// Pushes a field of a table. Asks no metatable.
    pub(crate) fn raw_field(&self, table: c_int, name: &str) {
        self.push_bytes(name.as_bytes());
        self.raw_get(behind(table, 1));
    }

    /// Gives the topmost value to the key beneath it.
    pub(crate) fn raw_set(&self, table: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_rawset(self.state, table) }
    }

    pub(crate) fn raw_set_at(&self, table: c_int, index: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_rawseti_(self.state, table, index) }
    }

    /// Gives a field the topmost value.
    pub(crate) fn set_field(&self, table: c_int, name: &str) {
        self.push_bytes(name.as_bytes());
        self.insert(-2);
        self.raw_set(behind(table, 1));
    }

    /// Replaces the topmost key by the next one and its value. False: there is none.
    pub(crate) fn next(&self, table: c_int) -> bool {
        // SAFETY: see above.
        unsafe { ffi::lua_next(self.state, table) != 0 }
    }

    /// As an index does it: metatables are asked.
    pub(crate) fn get(&self, table: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_gettable_(self.state, table) }
    }

    pub(crate) fn set_metatable(&self, at: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_setmetatable(self.state, at) };
    }

    pub(crate) fn concat(&self, count: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_concat(self.state, count) }
    }

    pub(crate) fn call(&self, arguments: c_int, results: c_int) {
        // SAFETY: see above.
        unsafe { ffi::lua_call(self.state, arguments, results) }
    }

    /// Calls a function whose errors end here: one becomes the topmost value. `handler` is the place of a function that makes
    /// the error's value, 0: none.
    ///
    /// # Errors
    /// Of what kind it was, as Lua says.
    pub(crate) fn call_protected(
        &self,
        arguments: c_int,
        results: c_int,
        handler: c_int,
    ) -> Result<(), c_int> {
        // SAFETY: see above.
        match unsafe { ffi::lua_pcall(self.state, arguments, results, handler) } {
            ffi::LUA_OK => Ok(()),
            error => Err(error),
        }
    }

    /// Compiles a chunk of text and pushes its function, or why it is wrong.
    pub(crate) fn compile(&self, text: &[u8], name: &CStr) -> Result<(), c_int> {
        // SAFETY: see above; the name ends with a zero.
        let result =
            unsafe { ffi::luaL_loadbuffer(self.state, text.as_ptr().cast(), text.len(), name.as_ptr()) };
        if result == ffi::LUA_OK { Ok(()) } else { Err(result) }
    }

    /// An error with words that are put together, behind the place in the script.
    pub(crate) fn error(&self, words: std::fmt::Arguments<'_>) -> Raise {
        use std::io::Write;
        let text = &self.context().text;
        // Writing to memory does not fail.
        text.fill(|out| out.write_fmt(words).unwrap_or_default());
        self.push_bytes(text.bytes());
        Raise::Top
    }

    /// What stands for nothing in formats that have a word for that.
    pub(crate) fn push_null(&self) {
        // SAFETY: see above.
        unsafe { ffi::lua_pushlightuserdata(self.state, std::ptr::null_mut()) }
    }

    /// Whether it is that.
    pub(crate) fn is_null(&self, at: c_int) -> bool {
        // SAFETY: see above.
        unsafe {
            ffi::lua_type(self.state, at) == ffi::LUA_TLIGHTUSERDATA
                && ffi::lua_touserdata(self.state, at).is_null()
        }
    }

    /// The name of a value's type.
    pub(crate) fn type_name(&self, at: c_int) -> &'static str {
        match self.kind(at) {
            Kind::None => "no value",
            Kind::Nil => "nil",
            Kind::Boolean => "boolean",
            Kind::Number => "number",
            Kind::String => "string",
            Kind::Table => "table",
            Kind::Function => "function",
            Kind::Other => "userdata",
        }
    }

    /// Ends the function with an error.
    fn raise(&self, raise: Raise) -> ! {
        // SAFETY: see above. Nothing of this frame, nor of `enter`'s, has a destructor.
        unsafe {
            match raise {
                Raise::Text(text) => {
                    ffi::luaL_where(self.state, 1);
                    ffi::lua_pushstring_(self.state, text.as_ptr());
                    ffi::lua_concat(self.state, 2);
                }
                Raise::Argument(number, text) => {
                    ffi::luaL_argerror(self.state, number, text.as_ptr());
                }
                Raise::ArgumentTop(number) => {
                    let text = ffi::lua_tolstring(self.state, -1, std::ptr::null_mut());
                    ffi::luaL_argerror(self.state, number, text);
                }
                Raise::Type(number, name) => {
                    ffi::luaL_typerror(self.state, number, name.as_ptr());
                }
                Raise::Top => {
                    ffi::luaL_where(self.state, 1);
                    ffi::lua_insert(self.state, -2);
                    ffi::lua_concat(self.state, 2);
                }
                Raise::Value => {}
                Raise::Stopped => ffi::lua_pushnil(self.state),
            }
            ffi::lua_error(self.state)
        }
    }
}

/// A place counted from the top, as it is when `count` values more are on the stack.
fn behind(at: c_int, count: c_int) -> c_int {
    if at < 0 && at > ffi::LUA_REGISTRYINDEX { at - count } else { at }
}

/// What Lua calls for a [`Function`]: that is the upvalue.
unsafe extern "C-unwind" fn enter(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: only `push_function` makes closures of this, with a function as the upvalue.
    let function = unsafe {
        std::mem::transmute::<*mut c_void, Function>(ffi::lua_touserdata(state, ffi::lua_upvalueindex(1)))
    };
    // SAFETY: the state calls this, protected by whoever runs the script.
    let frame = unsafe { Frame::new(state) };
    match function(&frame) {
        Ok(results) => results,
        Err(raise) => frame.raise(raise),
    }
}
