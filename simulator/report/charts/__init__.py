"""Results as charts in files. Importing it asks for `foretrain[charts]`, so import it where a chart is drawn."""

from ....core.extras import require

require("a chart", "altair", "vl_convert")
