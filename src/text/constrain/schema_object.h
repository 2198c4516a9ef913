// The keywords of objects.
#pragma once

#include "text/constrain/schema_reader.h"

namespace tessera::constrain {

/// Objects that fit all parts (the result of SchemaDocument::flatten).
SchemaReader::Expr object_expr(SchemaReader& reader, const SchemaParts& flat);

}  // namespace tessera::constrain
