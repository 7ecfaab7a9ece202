//! Reads a core module operator by operator before anything is compiled.
//!
//! Invariant: a module that passes keeps nothing between two calls but its one memory and its mutable globals, cannot
//! grow either, calls nothing outside, and needs a stack that is known: no function can reach itself, so the longest
//! chain of calls is finite and is added up here.

use std::ops::Range;

use wasmparser::{
    ConstExpr, ElementItems, Export, FuncToValidate, FuncType, FuncValidatorAllocations, FunctionBody,
    Operator, Parser, Payload, TableType, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use crate::component::invalid;
use crate::limits::{
    FUNCTIONS_MAX, GLOBALS_MAX, LOCALS_MAX, OPERATORS_MAX, STACK_BYTES_MAX, TABLE_ENTRIES_MAX,
};
use crate::refusal::Refusal;

/// What a sealed guest may be made of: integers, one memory, one table of functions. No float, no vector, no thread, no
/// reference that could be called.
const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::GC_TYPES);

/// What the compiler spends on a call beside values: return address, saved registers, arguments on the stack.
const FRAME_BYTES: usize = 256;
/// A value takes eight bytes, and the compiler may keep as many again of its own.
const VALUE_BYTES: usize = 16;

/// What sealing must know about a module that passed.
#[derive(Debug)]
pub(crate) struct Scanned<'a> {
    /// Every section but memory, exports and custom ones, in its order, with where the memory stands.
    pub(crate) sections: Vec<Section>,
    /// Its exports.
    pub(crate) exports: Vec<Export<'a>>,
    /// Indices of its mutable globals.
    pub(crate) mutable_globals: Vec<u32>,
    /// Where its data ends: the value of `__heap_base`.
    pub(crate) heap_base: u32,
}

/// One section of the module.
#[derive(Debug)]
pub(crate) enum Section {
    /// To be copied.
    Raw { id: u8, range: Range<usize> },
    /// The memory stands here.
    Memory,
    /// The exports stand here.
    Exports,
}

/// Reads the module, or says why it is not admitted.
pub(crate) fn scan(core: &[u8]) -> Result<Scanned<'_>, Refusal> {
    let mut scan = Scan::default();
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload.map_err(invalid)?;
        scan.refuse_early(&payload)?;
        match validator.payload(&payload).map_err(invalid)? {
            ValidPayload::Func(function, body) => {
                allocations = scan.function(function, &body, allocations)?;
            }
            ValidPayload::Parser(_) | ValidPayload::Ok | ValidPayload::End(_) => scan.section(payload)?,
        }
    }
    scan.finish()
}

#[derive(Default)]
struct Scan<'a> {
    sections: Vec<Section>,
    exports: Vec<Export<'a>>,
    types: Vec<Option<FuncType>>,
    function_types: Vec<u32>,
    functions: Vec<Function>,
    in_table: Vec<u32>,
    globals: Vec<Option<i32>>,
    mutable_globals: Vec<u32>,
    memories: usize,
    tables: usize,
}

/// One function: its frame, and whom it may call.
struct Function {
    frame_bytes: usize,
    calls: Vec<u32>,
    calls_types: Vec<u32>,
}

impl<'a> Scan<'a> {
    /// What has a reason of its own, before the validator says that it is not among the features.
    fn refuse_early(&mut self, payload: &Payload<'a>) -> Result<(), Refusal> {
        match payload {
            Payload::ImportSection(section) => match section.clone().into_imports().next() {
                Some(import) => Err(Refusal::Imports { name: import.map_err(invalid)?.name.to_owned() }),
                None => Ok(()),
            },
            Payload::StartSection { .. } => Err(Refusal::StartFunction),
            Payload::MemorySection(section) if section.count() != 1 => {
                Err(Refusal::Memories { count: section.count() as usize })
            }
            Payload::FunctionSection(section) if section.count() as usize > FUNCTIONS_MAX => {
                Err(Refusal::Functions { count: section.count() as usize })
            }
            _ => Ok(()),
        }
    }

    fn section(&mut self, payload: Payload<'a>) -> Result<(), Refusal> {
        let raw = payload.as_section();
        match payload {
            Payload::CustomSection(_) => return Ok(()),
            Payload::MemorySection(_) => {
                self.memories += 1;
                self.sections.push(Section::Memory);
                return Ok(());
            }
            Payload::ExportSection(section) => {
                self.exports = section.into_iter().collect::<Result<_, _>>().map_err(invalid)?;
                self.sections.push(Section::Exports);
                return Ok(());
            }
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    self.types.push(Some(ty.map_err(invalid)?));
                }
            }
            Payload::FunctionSection(section) => {
                self.function_types = section.into_iter().collect::<Result<_, _>>().map_err(invalid)?;
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.table(&table.map_err(invalid)?.ty)?;
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global.map_err(invalid)?;
                    self.global(global.ty.mutable, &global.init_expr)?;
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    self.elements(element.map_err(invalid)?.items)?;
                }
            }
            _ => {}
        }
        if let Some((id, range)) = raw {
            self.sections.push(Section::Raw { id, range });
        }
        Ok(())
    }

    fn table(&mut self, table: &TableType) -> Result<(), Refusal> {
        self.tables += 1;
        let is_fixed =
            table.initial <= TABLE_ENTRIES_MAX && !table.table64 && table.element_type.is_func_ref();
        if self.tables > 1 || !is_fixed { Err(Refusal::Table) } else { Ok(()) }
    }

    fn global(&mut self, is_mutable: bool, init: &ConstExpr<'_>) -> Result<(), Refusal> {
        if is_mutable {
            self.mutable_globals.push(self.globals.len() as u32);
            if self.mutable_globals.len() > GLOBALS_MAX {
                return Err(Refusal::Globals { count: self.mutable_globals.len() });
            }
        }
        let constant = match init.get_operators_reader().read().map_err(invalid)? {
            Operator::I32Const { value } if !is_mutable => Some(value),
            _ => None,
        };
        self.globals.push(constant);
        Ok(())
    }

    /// Whatever may stand in a table may be called through it.
    fn elements(&mut self, items: ElementItems<'_>) -> Result<(), Refusal> {
        match items {
            ElementItems::Functions(functions) => {
                for function in functions {
                    self.in_table.push(function.map_err(invalid)?);
                }
            }
            ElementItems::Expressions(_, expressions) => {
                for expression in expressions {
                    let mut operators = expression.map_err(invalid)?.get_operators_reader();
                    while !operators.eof() {
                        if let Operator::RefFunc { function_index } = operators.read().map_err(invalid)? {
                            self.in_table.push(function_index);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
        allocations: FuncValidatorAllocations,
    ) -> Result<FuncValidatorAllocations, Refusal> {
        let number = self.functions.len() as u32;
        let mut validator = function.into_validator(allocations);
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader).map_err(invalid)?;
        let locals = validator.len_locals() as usize;
        if locals > LOCALS_MAX {
            return Err(Refusal::Locals { function: number, count: locals });
        }
        let mut found = Function { frame_bytes: 0, calls: Vec::new(), calls_types: Vec::new() };
        let (mut count, mut height) = (0, 0);
        let mut operators = body.get_operators_reader().map_err(invalid)?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset().map_err(invalid)?;
            if let Some(operator) = forbidden(&operator) {
                return Err(Refusal::Operator { operator, function: number });
            }
            validator.op(offset, &operator).map_err(invalid)?;
            height = height.max(validator.operand_stack_height() as usize);
            count += 1;
            if count > OPERATORS_MAX {
                return Err(Refusal::FunctionTooLong { function: number });
            }
            match operator {
                Operator::Call { function_index } => found.calls.push(function_index),
                Operator::CallIndirect { type_index, .. } => found.calls_types.push(type_index),
                _ => {}
            }
        }
        operators.finish().map_err(invalid)?;
        found.frame_bytes = FRAME_BYTES + VALUE_BYTES * (locals + height);
        self.functions.push(found);
        Ok(validator.into_allocations())
    }

    fn finish(self) -> Result<Scanned<'a>, Refusal> {
        if self.memories != 1 {
            return Err(Refusal::Memories { count: self.memories });
        }
        self.check_depth()?;
        let heap_base = self.exports.iter().find(|export| export.name == "__heap_base").and_then(|export| {
            let is_global = export.kind == wasmparser::ExternalKind::Global;
            let constant = self.globals.get(export.index as usize).copied().flatten();
            constant.filter(|_| is_global)
        });
        Ok(Scanned {
            heap_base: heap_base.ok_or(Refusal::HeapBase)?.cast_unsigned(),
            sections: self.sections,
            exports: self.exports,
            mutable_globals: self.mutable_globals,
        })
    }

    /// Adds up the longest chain of calls.
    fn check_depth(&self) -> Result<(), Refusal> {
        let mut depths = vec![Depth::Unknown; self.functions.len()];
        for function in 0..self.functions.len() as u32 {
            let bytes = self.depth(function, &mut depths)?;
            if bytes > STACK_BYTES_MAX {
                return Err(Refusal::TooDeep { bytes });
            }
        }
        Ok(())
    }

    fn depth(&self, number: u32, depths: &mut [Depth]) -> Result<usize, Refusal> {
        match depths[number as usize] {
            Depth::Known(bytes) => return Ok(bytes),
            Depth::Open => return Err(Refusal::Recursive { function: number }),
            Depth::Unknown => {}
        }
        depths[number as usize] = Depth::Open;
        let function = &self.functions[number as usize];
        let mut deepest = 0;
        for call in &function.calls {
            deepest = deepest.max(self.depth(*call, depths)?);
        }
        for wanted in &function.calls_types {
            for call in &self.in_table {
                if self.type_of(*call) == self.types[*wanted as usize].as_ref() {
                    deepest = deepest.max(self.depth(*call, depths)?);
                }
            }
        }
        let bytes = deepest.saturating_add(function.frame_bytes);
        depths[number as usize] = Depth::Known(bytes);
        Ok(bytes)
    }

    fn type_of(&self, function: u32) -> Option<&FuncType> {
        self.types[self.function_types[function as usize] as usize].as_ref()
    }
}

#[derive(Clone, Copy)]
enum Depth {
    Unknown,
    Open,
    Known(usize),
}

/// Operators that would change something that is not put back, or whose cost fuel does not see.
const fn forbidden(operator: &Operator<'_>) -> Option<&'static str> {
    match operator {
        Operator::MemoryGrow { .. } => Some("memory.grow"),
        Operator::MemorySize { .. } => Some("memory.size"),
        Operator::MemoryInit { .. } => Some("memory.init"),
        Operator::DataDrop { .. } => Some("data.drop"),
        Operator::ElemDrop { .. } => Some("elem.drop"),
        Operator::TableInit { .. } => Some("table.init"),
        Operator::TableCopy { .. } => Some("table.copy"),
        Operator::TableSet { .. } => Some("table.set"),
        Operator::TableGrow { .. } => Some("table.grow"),
        Operator::TableFill { .. } => Some("table.fill"),
        _ => None,
    }
}
