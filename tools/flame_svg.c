// SPDX-License-Identifier: Apache-2.0
#include "tools/flame_svg.h"

#include "proto/text.h"
#include "tools/cli.h"
#include "tools/flame_script.h"
#include "tools/frame_name.h"

#include <math.h>
#include <string.h>

/* In pixels of the picture at its natural size. */
enum {
	PICTURE_WIDTH = 1200,
	MARGIN = 16,
	PANEL_WIDTH = PICTURE_WIDTH - 2 * MARGIN,
	ROW_HEIGHT = 18,
	TEXT_BASE = 13, /* of a row: where its letters stand */
	TEXT_INSET = 3,
	TITLE_BASE = 30,
	SUBTITLE_BASE = 50,
	LEGEND_TOP = 66,
	LEGEND_HEIGHT = 14,
	LEGEND_STEP = 92,
	PANELS_TOP = 104,
	HEADING_HEIGHT = 26,
	BAR_HEIGHT = 8,
	PANEL_GAP = 30,
	FOOT_HEIGHT = 52,
};

/* A letter of 11 pixels in a monospaced font: 0.6 em in most, 0.602 em in DejaVu Sans Mono, the widest. */
static const double letter_pixels = 6.63;

/* Colours by kept%: below the limit.  Each has text on it with a contrast of at least 5 to 1. */
static const struct kept_class {
	double below;
	const char *fill;
	const char *text;
	const char *label;
} kept_classes[] = {
	{ 1, "#ece7dc", "#26211c", "below 1 %" },         { 5, "#f6e3b4", "#26211c", "1 – 5 %" },
	{ 20, "#fbc981", "#26211c", "5 – 20 %" },         { 40, "#f6a05c", "#26211c", "20 – 40 %" },
	{ 60, "#e97a4e", "#26211c", "40 – 60 %" },        { 80, "#c2413f", "#ffffff", "60 – 80 %" },
	{ INFINITY, "#8d1538", "#ffffff", "80 – 100 %" },
};

enum { KEPT_CLASSES = sizeof(kept_classes) / sizeof(kept_classes[0]) };

struct panel {
	const struct hm_flame *flame; /* borrowed */
	bool is_alloc;
	double total_bytes;
	double pixels_per_byte;
	double top;
	uint32_t row_count;
	uint64_t left_out_count;
	FILE *stream; /* NULL: only count rows and what is left out */
};

static double bytes_of(const struct panel *panel, const struct hm_call_node *node)
{
	return panel->is_alloc ? node->figures.alloc_bytes : node->figures.inuse_bytes;
}

static double percent_of(double part, double whole)
{
	return whole > 0 ? 100 * part / whole : 0;
}

/* --- Text --------------------------------------------------------------------------------------------- */

/* One character of a name that anybody may have written; `size` is that of hm_utf8_character. */
static void put_character(const char *character, size_t size, FILE *stream)
{
	const unsigned char first = (unsigned char)character[0];
	const bool is_control = first < 0x20 || first == 0x7f ||
				(size == 2 && first == 0xc2 && (unsigned char)character[1] < 0xa0);
	/* U+FFFE and U+FFFF are valid in UTF-8 and not in XML */
	const bool is_no_character =
		size == 3 && memcmp(character, "\xef\xbf", 2) == 0 && (unsigned char)character[2] >= 0xbe;

	if (size == 0 || is_control || is_no_character)
		(void)fputc('?', stream);
	else if (first == '&')
		(void)fputs("&amp;", stream);
	else if (first == '<')
		(void)fputs("&lt;", stream);
	else if (first == '>')
		(void)fputs("&gt;", stream);
	else if (first == '"')
		(void)fputs("&quot;", stream);
	else
		(void)fwrite(character, 1, size, stream);
}

/* Letters that a character is wide: two from U+0800 on, which is too much for some and too little for none.
 */
static size_t columns_of(size_t size)
{
	return size >= 3 ? 2 : 1;
}

static size_t text_columns(const char *text)
{
	size_t columns = 0;
	const size_t length = strlen(text);

	for (size_t i = 0; i < length;) {
		const size_t size = hm_utf8_character(text + i, length - i);

		columns += columns_of(size);
		i += size > 0 ? size : 1;
	}
	return columns;
}

/* At most so many columns of the text, with an ellipsis for the rest. */
static void put_text(const char *text, size_t columns_max, FILE *stream)
{
	const bool fits = text_columns(text) <= columns_max;
	const size_t length = strlen(text);
	size_t columns = fits ? 0 : 1;

	for (size_t i = 0; i < length;) {
		const size_t size = hm_utf8_character(text + i, length - i);

		columns += columns_of(size);
		if (columns > columns_max)
			break;
		put_character(text + i, size, stream);
		i += size > 0 ? size : 1;
	}
	if (!fits)
		(void)fputs("…", stream);
}

/* --- Frames ------------------------------------------------------------------------------------------- */

static const char *module_of(const struct panel *panel, const struct hm_call_node *node)
{
	const struct hm_profile *const profile = panel->flame->profile;

	return node->mapping == HM_PROFILE_NONE ? ""
						: hm_frame_base_name(hm_profile_string(
							  profile, profile->mappings[node->mapping].file));
}

static int class_of(const struct hm_view_figures *figures)
{
	const double kept = percent_of(figures->inuse_bytes, figures->alloc_bytes);
	int class = 0;

	while (class < KEPT_CLASSES - 1 && !(kept < kept_classes[class].below))
		class ++;
	return class;
}

/* What a browser shows when the pointer rests on the frame. */
static void put_tooltip(const struct panel *panel, const struct hm_call_node *node)
{
	const struct hm_call_tree *const tree = panel->flame->tree;
	const struct hm_view_figures *const all = &tree->nodes[HM_CALL_ROOT].figures;
	const struct hm_view_figures *const own = &node->figures;
	const char *const module = module_of(panel, node);
	const struct hm_shown interval = hm_show_interval(own->inuse_bytes, own->inuse_variance);
	FILE *const stream = panel->stream;

	(void)fputs("<title>", stream);
	put_text(tree->names[node->name], SIZE_MAX, stream);
	if (module[0] != '\0') {
		(void)fputs("\nin ", stream);
		put_text(module, 255, stream);
	}
	(void)fprintf(stream, "\nallocated %s, %.1f %%\nin use %s%s%s, %.1f %%",
		      hm_show_bytes(own->alloc_bytes).text, percent_of(own->alloc_bytes, all->alloc_bytes),
		      hm_show_bytes(own->inuse_bytes).text, interval.text[0] != '\0' ? " " : "",
		      interval.text, percent_of(own->inuse_bytes, all->inuse_bytes));
	if (own->alloc_bytes > 0)
		(void)fprintf(stream, "\nkept %.1f %%", percent_of(own->inuse_bytes, own->alloc_bytes));
	(void)fputs("</title>", stream);
}

/* The name, and its figures where there is room for them too: all, or the bytes alone. */
static void put_label(const struct panel *panel, const struct hm_call_node *node, double x, double y,
		      double width)
{
	enum { LETTERS_MIN = 3, FIGURES_BYTES = 64, GAP_LETTERS = 2 };
	const char *const name = panel->flame->tree->names[node->name];
	const struct hm_shown bytes = hm_show_bytes(bytes_of(panel, node));
	const double letters = floor((width - 2 * TEXT_INSET) / letter_pixels);
	const size_t room = letters > 0 ? (size_t)letters : 0;
	char figures[FIGURES_BYTES];

	if (room < LETTERS_MIN)
		return;
	(void)fprintf(panel->stream, "<text x=\"%.1f\" y=\"%.0f\">", x + TEXT_INSET, y + TEXT_BASE);
	put_text(name, room, panel->stream);
	(void)snprintf(figures, sizeof(figures), "%s, %.0f%% kept", bytes.text,
		       percent_of(node->figures.inuse_bytes, node->figures.alloc_bytes));
	if (text_columns(name) + GAP_LETTERS + strlen(figures) > room)
		(void)strcpy(figures, bytes.text);
	if (text_columns(name) + GAP_LETTERS + strlen(figures) <= room)
		(void)fprintf(panel->stream, "<tspan class=\"b\" dx=\"%.1f\">%s</tspan>",
			      GAP_LETTERS * letter_pixels, figures);
	(void)fputs("</text>", panel->stream);
}

static void put_frame(const struct panel *panel, const struct hm_call_node *node, double x, double width)
{
	/* frames of a few pixels keep all of them; between others a gap is seen */
	const double gap = width >= 3 ? 0.6 : 0;
	const double y = panel->top + node->depth * ROW_HEIGHT;

	if (panel->stream == NULL)
		return;
	(void)fprintf(panel->stream, "<g class=\"f k%d\">", class_of(&node->figures));
	put_tooltip(panel, node);
	(void)fprintf(panel->stream, "<rect x=\"%.2f\" y=\"%.0f\" width=\"%.2f\" height=\"%d\"/>", x, y,
		      width - gap, ROW_HEIGHT - 1);
	put_label(panel, node, x, y, width);
	(void)fputs("</g>\n", panel->stream);
}

/* Frames that have something to show here, the node and all below it: HM_CALL_DEPTH_MAX deep at most. */
static uint64_t count_frames(const struct panel *panel, const struct hm_call_node *node)
{
	const struct hm_call_tree *const tree = panel->flame->tree;
	uint64_t count = bytes_of(panel, node) > 0;

	for (uint32_t i = 0; i < node->child_count; i++)
		count += count_frames(panel, &tree->nodes[tree->children[node->first_child + i]]);
	return count;
}

/* The node at x and all below it, in what `room_end` leaves. */
static void draw_frames(struct panel *panel, const struct hm_call_node *node, double x, double room_end)
{
	const struct hm_call_tree *const tree = panel->flame->tree;
	/* a file may claim more for the called than for the caller */
	const double width = fmin(bytes_of(panel, node) * panel->pixels_per_byte, room_end - x);

	if (!(width >= HM_FLAME_FRAME_PIXELS_MIN)) {
		panel->left_out_count += count_frames(panel, node);
		return;
	}
	put_frame(panel, node, x, width);
	if (node->depth + 1 > panel->row_count)
		panel->row_count = node->depth + 1;

	const double end = x + width;

	for (uint32_t i = 0; i < node->child_count; i++) {
		const struct hm_call_node *const child = &tree->nodes[tree->children[node->first_child + i]];

		draw_frames(panel, child, x, end);
		x += fmax(0, fmin(bytes_of(panel, child) * panel->pixels_per_byte, end - x));
	}
}

/* --- Panels ------------------------------------------------------------------------------------------- */

static struct panel panel_of(const struct hm_flame *flame, bool is_alloc)
{
	struct panel panel = { .flame = flame, .is_alloc = is_alloc };
	const struct hm_call_node *const root = &flame->tree->nodes[HM_CALL_ROOT];

	panel.total_bytes = bytes_of(&panel, root);
	panel.pixels_per_byte = panel.total_bytes > 0 ? PANEL_WIDTH / panel.total_bytes : 0;
	draw_frames(&panel, root, MARGIN, MARGIN + PANEL_WIDTH);
	return panel;
}

static double panel_height(const struct panel *panel)
{
	return HEADING_HEIGHT + (panel->row_count > 0 ? panel->row_count : 1) * ROW_HEIGHT;
}

static void put_heading(const struct panel *panel, double top)
{
	const struct hm_view_figures *const all = &panel->flame->tree->nodes[HM_CALL_ROOT].figures;
	const struct hm_shown interval = panel->is_alloc
						 ? hm_show_interval(all->alloc_bytes, all->alloc_variance)
						 : hm_show_interval(all->inuse_bytes, all->inuse_variance);

	(void)fprintf(
		panel->stream,
		"<text class=\"h\" x=\"%d\" y=\"%.0f\">%s: %s%s%s<tspan class=\"d\" dx=\"10\">%s; the full "
		"width of this panel</tspan></text>\n",
		MARGIN, top + 14, panel->is_alloc ? "alloc_space" : "inuse_space",
		hm_show_bytes(panel->total_bytes).text, interval.text[0] != '\0' ? " " : "", interval.text,
		panel->is_alloc ? "allocated since the start" : "allocated and not freed");
}

static void draw_panel(struct panel *panel, double top, FILE *stream)
{
	const struct hm_call_node *const root = &panel->flame->tree->nodes[HM_CALL_ROOT];

	panel->stream = stream;
	panel->left_out_count = 0;
	panel->top = top + HEADING_HEIGHT;
	put_heading(panel, top);
	if (panel->total_bytes > 0) {
		(void)fputs("<g class=\"panel\">\n", stream);
		draw_frames(panel, root, MARGIN, MARGIN + PANEL_WIDTH);
		(void)fputs("</g>\n", stream);
	} else {
		(void)fprintf(stream, "<text class=\"d\" x=\"%d\" y=\"%.0f\">nothing</text>\n", MARGIN,
			      panel->top + TEXT_BASE);
	}
}

/* Both totals on one scale. */
static void draw_bar(const struct hm_flame *flame, double top, FILE *stream)
{
	const struct hm_view_figures *const all = &flame->tree->nodes[HM_CALL_ROOT].figures;
	const double kept = fmin(100, fmax(0, percent_of(all->inuse_bytes, all->alloc_bytes)));

	(void)fprintf(stream,
		      "<rect class=\"k0\" x=\"%d\" y=\"%.0f\" width=\"%d\" height=\"%d\"/>"
		      "<rect class=\"k%d\" x=\"%d\" y=\"%.0f\" width=\"%.2f\" height=\"%d\"/>\n"
		      "<text class=\"d\" x=\"%d\" y=\"%.0f\">on one scale: of the %s allocated, %s is still "
		      "in use, "
		      "%.1f %%</text>\n",
		      MARGIN, top, PANEL_WIDTH, BAR_HEIGHT, KEPT_CLASSES - 1, MARGIN, top,
		      kept * PANEL_WIDTH / 100, BAR_HEIGHT, MARGIN, top + BAR_HEIGHT + TEXT_BASE,
		      hm_show_bytes(all->alloc_bytes).text, hm_show_bytes(all->inuse_bytes).text, kept);
}

/* --- The picture -------------------------------------------------------------------------------------- */

static void put_style(FILE *stream)
{
	(void)fputs(
		"<style>\n"
		"text { font: 11px \"DejaVu Sans Mono\", Menlo, Consolas, \"Liberation Mono\", monospace; "
		"fill: #26211c; white-space: pre }\n"
		".t { font: bold 20px \"DejaVu Sans\", Verdana, Arial, sans-serif }\n"
		".h { font: bold 13px \"DejaVu Sans\", Verdana, Arial, sans-serif }\n"
		".d { font: 12px \"DejaVu Sans\", Verdana, Arial, sans-serif; fill: #5d554b }\n"
		".b { fill-opacity: .75 }\n"
		".live .f, #search { cursor: pointer }\n"
		".f:hover rect { stroke: #26211c }\n"
		".above { opacity: .55 }\n"
		".found rect { stroke: #1450c8; stroke-width: 2 }\n",
		stream);
	for (int i = 0; i < KEPT_CLASSES; i++)
		(void)fprintf(stream, ".k%d rect, rect.k%d { fill: %s } .k%d text { fill: %s }\n", i, i,
			      kept_classes[i].fill, i, kept_classes[i].text);
	(void)fputs("</style>\n", stream);
}

static void put_top(const struct hm_flame *flame, double height, FILE *stream)
{
	(void)fprintf(stream,
		      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" viewBox=\"0 0 "
		      "%d %.0f\">\n",
		      PICTURE_WIDTH, height, PICTURE_WIDTH, height);
	put_style(stream);
	(void)fprintf(
		stream,
		"<rect width=\"%d\" height=\"%.0f\" fill=\"#fffdf9\"/>\n<text class=\"t\" x=\"%d\" y=\"%d\">",
		PICTURE_WIDTH, height, MARGIN, TITLE_BASE);
	put_text(flame->title, 90, stream);
	(void)fprintf(stream, "</text>\n<text class=\"d\" x=\"%d\" y=\"%d\">", MARGIN, SUBTITLE_BASE);
	put_text(flame->subtitle, 160, stream);
	(void)fprintf(stream,
		      "</text>\n<text id=\"search\" class=\"d\" x=\"%d\" y=\"%d\" text-anchor=\"end\" "
		      "style=\"display:none\">search</text>\n",
		      PICTURE_WIDTH - MARGIN, TITLE_BASE);
}

static void put_legend(FILE *stream)
{
	enum { SWATCH_WIDTH = 84, CAPTION_WIDTH = 330 };
	double x = MARGIN + CAPTION_WIDTH;

	(void)fprintf(stream,
		      "<text class=\"d\" x=\"%d\" y=\"%d\">colour: how much of what was allocated there is "
		      "kept</text>\n",
		      MARGIN, LEGEND_TOP + 12);
	for (int i = 0; i < KEPT_CLASSES; i++, x += LEGEND_STEP)
		(void)fprintf(stream,
			      "<g class=\"k%d\"><rect x=\"%.0f\" y=\"%d\" width=\"%d\" height=\"%d\"/>"
			      "<text x=\"%.0f\" y=\"%d\" text-anchor=\"middle\">%s</text></g>\n",
			      i, x, LEGEND_TOP, SWATCH_WIDTH, ROW_HEIGHT - 1, x + SWATCH_WIDTH / 2.0,
			      LEGEND_TOP + TEXT_BASE, kept_classes[i].label);
	(void)fprintf(stream,
		      "<text class=\"d\" x=\"%d\" y=\"%d\">churn</text>"
		      "<text class=\"d\" x=\"%.0f\" y=\"%d\" text-anchor=\"end\">retention</text>\n",
		      MARGIN + CAPTION_WIDTH, LEGEND_TOP + 30, x - LEGEND_STEP + SWATCH_WIDTH,
		      LEGEND_TOP + 30);
}

static void put_foot(const struct hm_flame *flame, const struct panel *panels, size_t panel_count, double top,
		     FILE *stream)
{
	uint64_t left_out_count = 0;

	for (size_t i = 0; i < panel_count; i++)
		left_out_count += panels[i].left_out_count;
	(void)fprintf(
		stream,
		"<text class=\"d\" x=\"%d\" y=\"%.0f\">%llu frames narrower than half a pixel are left out",
		MARGIN, top + 16, (unsigned long long)left_out_count);
	if (flame->tree->cut_count != 0)
		(void)fprintf(stream, "; %llu samples have frames beyond the limits (%d deep, %d in all)",
			      (unsigned long long)flame->tree->cut_count, HM_CALL_DEPTH_MAX,
			      HM_CALL_NODES_MAX);
	(void)fprintf(
		stream,
		"</text>\n<text id=\"details\" class=\"d\" x=\"%d\" y=\"%.0f\">width: bytes, a caller above "
		"what it calls; units of 1024</text>\n",
		MARGIN, top + 34);
}

void hm_flame_draw(const struct hm_flame *flame, FILE *stream)
{
	struct panel panels[2];
	size_t panel_count = 0;
	double height = PANELS_TOP + FOOT_HEIGHT;
	double top = PANELS_TOP;

	if (flame->show_alloc)
		panels[panel_count++] = panel_of(flame, true);
	if (flame->show_inuse)
		panels[panel_count++] = panel_of(flame, false);
	for (size_t i = 0; i < panel_count; i++)
		height += panel_height(&panels[i]) + (i > 0 ? 2 * PANEL_GAP : 0);
	put_top(flame, height, stream);
	put_legend(stream);
	for (size_t i = 0; i < panel_count; i++) {
		if (i > 0) {
			draw_bar(flame, top + PANEL_GAP / 3.0, stream);
			top += 2 * PANEL_GAP;
		}
		draw_panel(&panels[i], top, stream);
		top += panel_height(&panels[i]);
	}
	put_foot(flame, panels, panel_count, top, stream);
	(void)fprintf(stream, "<script><![CDATA[\n%s]]></script>\n</svg>\n", hm_flame_script);
}
