// A picture inside the text of a terminal.
#pragma once

#include "core/media.h"

#include <string>

namespace tessera::io {

/// True when standard output is a terminal that terminal_image() can draw on.
bool terminal_can_show_images();

/// The characters that draw `image` at the cursor, at most `max_columns` (>= 1) cells wide, and end
/// in a new line; empty when the terminal shows no pictures. The way is chosen by the environment
/// alone (the terminal is never asked): kitty's or iTerm2's graphics, sixel, or two pixels a cell
/// in 24-bit colour when COLORTERM says truecolor. Alpha is drawn over black where the terminal
/// cannot do so itself.
std::string terminal_image(const Image& image, int max_columns);

}  // namespace tessera::io
