//! The types of a component's exports as text, to be compared with the contract's.
//!
//! Invariant: two types have the same text exactly when they are the same to the canonical ABI and to a reader of the
//! WIT: names of fields and cases are part of it.

use wasmparser::component_types::{ComponentDefinedType, ComponentEntityType, ComponentValType};
use wasmparser::types::TypesRef;

const CONTEXT: &str = "record{sequence:u64,epoch:u64,time-ns:u64,seed:u64,proposer:u64,kind:u32,attrs:u32}";
const OUTCOME: &str = "record{verdict:enum{accept,refuse,defer},code:u32,effects:list<u8>}";
const MANIFEST: &str = "record{name:string,version:tuple<u16,u16,u16>,reads:enum{none,cell-of-proposer,\
                        cell-of-key-prefix,explicit},max-state:u32,max-proposal:u32,max-effects:u32,fuel:u64}";

/// What the contract says of an export.
pub(crate) fn wanted(export: &str) -> Option<String> {
    Some(match export {
        "describe" => format!("func()->{MANIFEST}"),
        "plan" => "func(proposal:list<u8>)->list<list<u8>>".to_owned(),
        "decide" => format!("func(ctx:{CONTEXT},state:list<u8>,proposal:list<u8>)->{OUTCOME}"),
        "decide-batch" => {
            format!("func(ctx:{CONTEXT},state:list<u8>,proposals:list<list<u8>>)->list<{OUTCOME}>")
        }
        _ => return None,
    })
}

/// What an export has.
pub(crate) fn found(types: TypesRef<'_>, entity: &ComponentEntityType) -> String {
    let ComponentEntityType::Func(id) = entity else { return "no function".to_owned() };
    let function = &types[*id];
    let params: Vec<String> =
        function.params.iter().map(|(name, ty)| format!("{name}:{}", text(types, ty))).collect();
    let result = function.result.as_ref().map_or("()".to_owned(), |ty| text(types, ty));
    let asynchronous = if function.async_ { "async " } else { "" };
    format!("{asynchronous}func({})->{result}", params.join(","))
}

fn text(types: TypesRef<'_>, ty: &ComponentValType) -> String {
    let id = match ty {
        ComponentValType::Primitive(primitive) => return primitive.to_string(),
        ComponentValType::Type(id) => id,
    };
    let list = |names: Vec<String>| names.join(",");
    match &types[*id] {
        ComponentDefinedType::Primitive(primitive) => primitive.to_string(),
        ComponentDefinedType::Record(record) => {
            let fields = record.fields.iter().map(|(name, ty)| format!("{name}:{}", text(types, ty)));
            format!("record{{{}}}", list(fields.collect()))
        }
        ComponentDefinedType::List { element, .. } => format!("list<{}>", text(types, element)),
        ComponentDefinedType::Tuple(tuple) => {
            format!("tuple<{}>", list(tuple.types.iter().map(|ty| text(types, ty)).collect()))
        }
        ComponentDefinedType::Enum(cases) => {
            format!("enum{{{}}}", list(cases.iter().map(ToString::to_string).collect()))
        }
        _ => "another type".to_owned(),
    }
}
