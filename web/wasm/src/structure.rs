//! The library that parses grammars: another WebAssembly module, which `web/src/structure.ts` loads when the first answer
//! of a given form is asked for.

use lfm2_wgpu::grammar::Source;
use lfm2_wgpu::grammar::library::{Library, Next, Parser, Vocabulary};
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// The loaded module, or what is left of it. Thrown values are messages.
    pub type StructureModule;

    #[wasm_bindgen(method, structural, catch)]
    fn vocabulary(
        this: &StructureModule,
        bytes: &[u8],
        lengths: &[u32],
        ends: &[u32],
    ) -> Result<ModuleVocabulary, JsValue>;

    type ModuleVocabulary;

    #[wasm_bindgen(method, structural, catch)]
    fn compile(this: &ModuleVocabulary, sources: &str) -> Result<ModuleParser, JsValue>;
    #[wasm_bindgen(method, structural)]
    fn free(this: &ModuleVocabulary);

    type ModuleParser;

    #[wasm_bindgen(method, structural)]
    fn copy(this: &ModuleParser) -> ModuleParser;
    #[wasm_bindgen(method, structural, catch)]
    fn next(this: &ModuleParser, ends: &[u32]) -> Result<Vec<u32>, JsValue>;
    #[wasm_bindgen(method, structural, getter)]
    fn complete(this: &ModuleParser) -> bool;
    #[wasm_bindgen(method, structural, catch)]
    fn take(this: &ModuleParser, token: u32) -> Result<(), JsValue>;
    #[wasm_bindgen(method, structural, js_name = takeForced)]
    fn take_forced(this: &ModuleParser) -> Vec<u8>;
    #[wasm_bindgen(method, structural)]
    fn valid(this: &ModuleParser, tokens: &[u32]) -> usize;
    #[wasm_bindgen(method, structural)]
    fn free(this: &ModuleParser);
}

// JavaScript's values stay in their thread, and so does the engine: SendWrapper panics if one does not.

/// The module as the engine's library.
pub struct StructureLibrary(SendWrapper<StructureModule>);

struct KeptVocabulary(SendWrapper<ModuleVocabulary>);

struct KeptParser(SendWrapper<ModuleParser>);

impl StructureLibrary {
    pub fn new(module: StructureModule) -> Self {
        Self(SendWrapper::new(module))
    }
}

impl KeptParser {
    fn new(parser: ModuleParser) -> Box<dyn Parser> {
        Box::new(Self(SendWrapper::new(parser)))
    }

    /// SendWrapper has methods of the same names.
    fn parser(&self) -> &ModuleParser {
        &self.0
    }
}

/// A message that was thrown.
fn message(thrown: JsValue) -> String {
    thrown.as_string().unwrap_or_else(|| format!("{thrown:?}"))
}

impl Library for StructureLibrary {
    fn vocabulary(&self, words: &[Vec<u8>], ends: &[u32]) -> Result<Box<dyn Vocabulary>, String> {
        let lengths: Vec<u32> = words.iter().map(|word| word.len() as u32).collect();
        let made = self.0.vocabulary(&words.concat(), &lengths, ends).map_err(message)?;
        Ok(Box::new(KeptVocabulary(SendWrapper::new(made))))
    }
}

impl Vocabulary for KeptVocabulary {
    fn compile(&self, sources: Vec<Source>) -> Result<Box<dyn Parser>, String> {
        let sources = serde_json::to_string(&sources).map_err(|e| e.to_string())?;
        Ok(KeptParser::new(self.0.compile(&sources).map_err(message)?))
    }
}

impl Parser for KeptParser {
    fn copy(&self) -> Box<dyn Parser> {
        KeptParser::new(self.parser().copy())
    }

    fn next(&mut self, ends: &[u32]) -> Result<Next, String> {
        let words = self.parser().next(ends).map_err(message)?;
        Ok(Next { words, complete: self.parser().complete() })
    }

    fn take(&mut self, token: u32) -> Result<(), String> {
        self.parser().take(token).map_err(message)
    }

    fn take_forced(&mut self) -> Vec<u8> {
        self.parser().take_forced()
    }

    fn valid(&mut self, tokens: &[u32]) -> usize {
        self.parser().valid(tokens)
    }
}

impl Drop for KeptVocabulary {
    fn drop(&mut self) {
        self.0.free();
    }
}

impl Drop for KeptParser {
    fn drop(&mut self) {
        self.0.free();
    }
}
