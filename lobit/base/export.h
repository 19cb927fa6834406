// LOBIT_API marks what a shared liblobit exports; everything else is hidden.
#pragma once

#define LOBIT_API __attribute__((visibility("default")))
