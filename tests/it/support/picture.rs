//! The screen of a terminal as a picture (SVG).

use std::fmt::Write as _;

/// The size of a character.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 18.0;

/// The space around the text.
const MARGIN: f32 = 10.0;

const BACKGROUND: &str = "#1c1f26";
const FOREGROUND: &str = "#d7dae0";

/// The sixteen colours of a terminal.
const COLOURS: [&str; 16] = [
    "#3b4048", "#e06c75", "#8cc570", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#abb2bf",
    "#5c6370", "#ff7b86", "#a5e08a", "#ffd68a", "#7cc4ff", "#de8ff5", "#6fd3df", "#ffffff",
];

fn colour(colour: vt100::Color, default: &str) -> String {
    match colour {
        vt100::Color::Default => default.to_owned(),
        vt100::Color::Idx(index) => COLOURS[usize::from(index) % COLOURS.len()].to_owned(),
        vt100::Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
    }
}

/// Returns the screen as an SVG picture. Each character stands in its own cell, so that no font shifts
/// a column.
pub fn svg(screen: &vt100::Screen) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let wide = f32::from(columns) * WIDTH + 2.0 * MARGIN;
    let high = f32::from(rows) * HEIGHT + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" \
         font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <rect width=\"{wide}\" height=\"{high}\" rx=\"6\" fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..rows {
        for column in 0..columns {
            if let Some(cell) = screen.cell(row, column) {
                draw(
                    cell,
                    f32::from(column) * WIDTH + MARGIN,
                    f32::from(row) * HEIGHT + MARGIN,
                    &mut svg,
                );
            }
        }
    }
    if !screen.hide_cursor() {
        let (row, column) = screen.cursor_position();
        let (x, y) = (f32::from(column) * WIDTH + MARGIN, f32::from(row) * HEIGHT + MARGIN);
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             fill=\"{FOREGROUND}\" opacity=\"0.7\"/>"
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(cell: &vt100::Cell, x: f32, y: f32, svg: &mut String) {
    let (mut ink, mut paper) =
        (colour(cell.fgcolor(), FOREGROUND), colour(cell.bgcolor(), BACKGROUND));
    if cell.inverse() {
        std::mem::swap(&mut ink, &mut paper);
    }
    let wide = if cell.is_wide() { 2.0 * WIDTH } else { WIDTH };
    if paper != BACKGROUND {
        // A little wider, so that no seam is seen between two cells.
        let wide = wide + 0.3;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{HEIGHT}\" fill=\"{paper}\"/>"
        );
    }
    let text = cell.contents();
    if text.trim().is_empty() {
        return;
    }
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    let mut style = format!("fill=\"{ink}\"");
    if cell.bold() {
        style.push_str(" font-weight=\"bold\"");
    }
    if cell.dim() {
        style.push_str(" opacity=\"0.6\"");
    }
    if cell.underline() {
        style.push_str(" text-decoration=\"underline\"");
    }
    let baseline = y + HEIGHT - 4.5;
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{baseline:.1}\" {style}>{escaped}</text>");
}
