/* SPDX-License-Identifier: GPL-3.0-only */
/* libxenforeignmemory */
#include <xenforeignmemory.h>
