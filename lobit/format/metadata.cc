#include "lobit/format/metadata.h"
