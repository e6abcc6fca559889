/* SPDX-License-Identifier: GPL-3.0-only */
/* libxenstore */
#include <xenstore.h>
