//! A template that compiles, and the PDF it makes. It trusts the template with time and memory; the pool does not.

use std::sync::LazyLock;

use jiff::civil::Date;
use typst::diag::{FileError, FileResult, PackageError, SourceDiagnostic};
use typst::foundations::{Bytes, Datetime, Duration, Smart};
use typst::syntax::{DiagSpan, FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt, World, WorldExt};
use typst_layout::PagedDocument;
use typst_pdf::{PdfOptions, Timestamp};

use crate::error::{Fault, RenderError};
use crate::folder::{DATA, Folder, MAIN};
use crate::receipt::Receipt;

/// A template that was compiled once with sample data.
pub struct Template {
    folder: Folder,
}

/// What is printed, with what a PDF says about itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Job {
    pub number: String,
    pub date: Date,
    /// The printed receipt as JSON.
    pub data: String,
}

impl Job {
    pub(crate) fn of(receipt: &Receipt) -> Self {
        Self {
            number: receipt.issued.number.clone(),
            date: receipt.issued.date,
            data: receipt.printed().to_string(),
        }
    }
}

impl Template {
    /// Compiles the template once with sample data, in this process.
    ///
    /// Errors: what is wrong with it, with file, line and column.
    pub fn load(folder: Folder) -> Result<Self, RenderError> {
        let template = Self { folder };
        let job = crate::sample::job().map_err(|error| RenderError::Internal(error.to_string()))?;
        template.make(&job)?;
        Ok(template)
    }

    /// The PDF of a receipt: the same bytes for the same receipt. Runs in this process with no limit of time and memory.
    ///
    /// Errors: what is wrong with the template, with file, line and column.
    pub fn render(&self, receipt: &Receipt) -> Result<Vec<u8>, RenderError> {
        self.make(&Job::of(receipt))
    }

    pub(crate) fn make(&self, job: &Job) -> Result<Vec<u8>, RenderError> {
        let world = Folded {
            folder: &self.folder,
            main: file_id(MAIN)?,
            job,
        };
        let made = typst::compile::<PagedDocument>(&world).output;
        let mut document = made.map_err(|errors| world.faults(&errors))?;
        // What a template says of itself may be anything; the number is what a receipt is found by.
        document.info_mut().title = Some(job.number.as_str().into());
        let options = PdfOptions {
            ident: Smart::Custom(job.number.clone()),
            creator: Smart::Custom(Some("Seriatim".to_string())),
            timestamp: datetime(job.date).map(Timestamp::new_utc),
            ..PdfOptions::default()
        };
        let pdf = typst_pdf::pdf(&document, &options).map_err(|errors| world.faults(&errors));
        // What one receipt left in the caches is kept for a few more, so that what they share is laid out once.
        typst::comemo::evict(EVICT_AFTER);
        pdf
    }
}

const EVICT_AFTER: usize = 3;

fn file_id(path: &str) -> Result<FileId, RenderError> {
    let path = VirtualPath::new(path).map_err(|error| RenderError::Internal(error.to_string()))?;
    Ok(RootedPath::new(VirtualRoot::Project, path).intern())
}

fn datetime(date: Date) -> Option<Datetime> {
    let part = |n: i8| u8::try_from(n).ok();
    Datetime::from_ymd_hms(i32::from(date.year()), part(date.month())?, part(date.day())?, 0, 0, 0)
}

struct Fonts {
    book: LazyHash<FontBook>,
    fonts: Vec<Font>,
}

/// Those of the crate and no others: a receipt looks the same on every machine.
static FONTS: LazyLock<Fonts> = LazyLock::new(|| {
    let files: [&'static [u8]; 4] = [
        include_bytes!("../fonts/NotoSans-Regular.ttf"),
        include_bytes!("../fonts/NotoSans-Bold.ttf"),
        include_bytes!("../fonts/NotoSansDevanagari-Regular.ttf"),
        include_bytes!("../fonts/NotoSansDevanagari-Bold.ttf"),
    ];
    let fonts: Vec<Font> = files
        .into_iter()
        .flat_map(|file| Font::iter(Bytes::new(file)))
        .collect();
    Fonts {
        book: LazyHash::new(FontBook::from_fonts(&fonts)),
        fonts,
    }
});

static LIBRARY: LazyLock<LazyHash<Library>> = LazyLock::new(|| LazyHash::new(Library::default()));

/// The world of a template: its own files, the receipt, our fonts, the date of the document. No disk, no net, no clock.
struct Folded<'a> {
    folder: &'a Folder,
    main: FileId,
    job: &'a Job,
}

impl Folded<'_> {
    fn bytes(&self, id: FileId) -> FileResult<Vec<u8>> {
        if matches!(id.root(), VirtualRoot::Package(_)) {
            let why = "packages are not fetched; copy its files into the folder of the template";
            return Err(FileError::Package(PackageError::Other(Some(why.into()))));
        }
        let path = id.vpath().get_without_slash();
        if path == DATA {
            return Ok(self.job.data.clone().into_bytes());
        }
        let file = self.folder.files.get(path);
        file.cloned()
            .ok_or_else(|| FileError::NotFound(self.folder.path.join(path)))
    }

    fn faults(&self, errors: &[SourceDiagnostic]) -> RenderError {
        RenderError::Template(errors.iter().map(|error| self.fault(error)).collect())
    }

    fn fault(&self, error: &SourceDiagnostic) -> Fault {
        // What fails in a library function is shown where the template called it.
        let spans = std::iter::once(error.span).chain(error.trace.iter().map(|trace| trace.span.into()));
        let place = spans.into_iter().find_map(|span| self.place(span));
        let hints = error
            .hints
            .iter()
            .map(|hint| format!("; {}", hint.v))
            .collect::<String>();
        let (file, line, column) = place.unwrap_or((MAIN.to_string(), 0, 0));
        Fault {
            file,
            line,
            column,
            message: format!("{}{hints}", error.message),
        }
    }

    fn place(&self, span: DiagSpan) -> Option<(String, usize, usize)> {
        let id = span.id()?;
        let range = self.range(span)?;
        let source = self.source(id).ok()?;
        let (line, column) = source.lines().byte_to_line_column(range.start)?;
        Some((id.vpath().get_without_slash().to_string(), line + 1, column + 1))
    }
}

impl World for Folded<'_> {
    fn library(&self) -> &LazyHash<Library> {
        &LIBRARY
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &FONTS.book
    }

    fn main(&self) -> FileId {
        self.main
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        let text = String::from_utf8(self.bytes(id)?).map_err(|_| FileError::InvalidUtf8)?;
        Ok(Source::new(id, text))
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        Ok(Bytes::new(self.bytes(id)?))
    }

    fn font(&self, index: usize) -> Option<Font> {
        FONTS.fonts.get(index).cloned()
    }

    fn today(&self, _: Option<Duration>) -> Option<Datetime> {
        datetime(self.job.date)
    }
}
