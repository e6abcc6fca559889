/* SPDX-License-Identifier: GPL-3.0-only */
/* libxentoollog */
#include <xentoollog.h>
