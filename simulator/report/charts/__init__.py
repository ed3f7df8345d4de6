"""Results as pictures. Importing it asks for `foretrain[charts]`, so import it where one is drawn."""

from ....core.extras import require

require("a chart", "vl_convert")
