from dataclasses import dataclass
from collections.abc import Mapping, Sequence
class NotLoweredError(Exception): pass
@dataclass(frozen=True, eq=False)
class Lowered:
    kind: str; name: str; text: str; facts: Mapping
@dataclass(frozen=True)
class TrialComponents:
    activation: Lowered; output: Lowered; metrics: Sequence; optimizer: Lowered
ACT = Lowered("activation","relu",'''#include "component.h"
void activate(const REAL *restrict x, REAL *restrict y, int64_t n){for(int64_t i=0;i<n;i+=LANES){vector v=*(const vector*)(x+i); *(vector*)(y+i)=chosen(v<0,(vector){0},v);}}
void derive(REAL *restrict g, const REAL *restrict x, const REAL *restrict y, int64_t n){for(int64_t i=0;i<n;i+=LANES){vector v=*(const vector*)(y+i); *(vector*)(g+i)=chosen(v<=0,(vector){0},*(vector*)(g+i));}}
''',{})
OUT = Lowered("output","ce",'''#include "component.h"
#include <math.h>
#define C 10
REAL loss(const REAL *z, const int_of_real *label, int64_t b, int64_t count, REAL keep, REAL spread, const double *set, REAL *grad){
 vector total={0};
 for(int64_t i=0;i<b;i+=LANES){ integers lab=*(const integers*)(label+i); vector m=*(const vector*)(z+i), s={0}, hit={0}, e[C];
  for(int j=1;j<C;j++){vector v=*(const vector*)(z+j*b+i); m=chosen(v>m,v,m);}
  for(int j=0;j<C;j++){vector v=*(const vector*)(z+j*b+i)-m; vector t=chosen(lab==j,(vector){0}+keep+spread,(vector){0}+spread); hit+=t*v; for(int u=0;u<LANES;u++) e[j][u]=expf(v[u]); s+=e[j];}
  vector l; for(int u=0;u<LANES;u++) l[u]=logf(s[u])-hit[u];
  for(int j=0;j<C;j++){vector t=chosen(lab==j,(vector){0}+keep+spread,(vector){0}+spread); vector g=(e[j]/s-t)/(REAL)count; for(int u=0;u<LANES;u++) if(i+u>=count) g[u]=0; *(vector*)(grad+j*b+i)=g;}
  for(int u=0;u<LANES;u++) if(i+u>=count) l[u]=0;
  total+=l; }
 REAL r=0; for(int u=0;u<LANES;u++) r+=total[u]/(REAL)count; return r;}
void judge(const REAL *z, const int_of_real *label, int64_t b, int64_t count, const double *set, double *loss, int64_t *hits, int64_t *best, REAL *sure){
 for(int64_t i=0;i<count;i++){ REAL m=z[i]; int f=0; for(int j=1;j<C;j++) if(z[j*b+i]>m) m=z[j*b+i],f=j; REAL s=0; for(int j=0;j<C;j++) s+=expf(z[j*b+i]-m);
 *loss+=logf(s)-(z[label[i]*b+i]-m); *hits+=f==label[i]; if(best) best[i]=f,sure[i]=1/s;}}
''',{"settings":[]})
OPT = Lowered("optimizer","sgd",'''#include "component.h"
#define STATES 0
#define SCALARS 1
INLINE vector step_first(const REAL *u, vector w, vector g, vector *s){return w-u[0]*g;}
INLINE vector step_later(const REAL *u, vector w, vector g, vector *s){return w-u[0]*g;}
void scalars(double t, const double *set, REAL *to){to[0]=(REAL)set[0];}
#include "optimizer.h"
''',{"settings":["lr"],"states":[],"scalars":1})
def of_trial(settings, metrics=()):
    if (settings.activation,settings.head,settings.loss,settings.optimizer)!=("relu","identity","ce","sgd"): raise NotLoweredError("x")
    return TrialComponents(ACT,OUT,(),OPT)
